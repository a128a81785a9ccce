package facts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// customFolders hold facts of the machine's owner; a later folder's fact takes
// the place of an earlier one's.
var customFolders = []string{"/etc/ansible/facts.d", "/etc/sloth/facts.d"}

const (
	// scriptLimit is how long one executable fact may take.
	scriptLimit = 5 * time.Second
	maxOutput   = 256 << 10
	maxCustom   = 200 // files looked at
	localLimit  = 10 * time.Second
)

// custom gathers "local": NAME.fact (and .json, .ini) in the custom folders, by
// NAME. A file holds JSON or INI text; one that is executable is run and its
// output taken. One bad file leaves an explanation in its place and nothing else.
func (h host) custom(ctx context.Context) (map[string]any, error) {
	local := map[string]any{}
	seen := 0
	for _, dir := range customFolders {
		entries, err := os.ReadDir(h.path(dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			local[filepath.Base(dir)] = "error: " + err.Error()
		}
		for _, e := range entries {
			name := e.Name()
			ext := filepath.Ext(name)
			if ext != ".fact" && ext != ".json" && ext != ".ini" {
				continue
			}
			if seen++; seen > maxCustom {
				return map[string]any{"local": local}, fmt.Errorf("more than %d files in %s", maxCustom, strings.Join(customFolders, " and "))
			}
			v, err := oneFact(ctx, h.path(dir), name)
			if err != nil {
				v = "error: " + err.Error()
			}
			local[strings.TrimSuffix(name, ext)] = v
		}
	}
	return map[string]any{"local": local}, ctx.Err()
}

func oneFact(ctx context.Context, dir, name string) (any, error) {
	path := filepath.Join(dir, name)
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	var text []byte
	if st.Mode()&0o111 != 0 {
		if err := trusted(path, st); err != nil {
			return nil, err
		}
		if text, err = runFact(ctx, path); err != nil {
			return nil, err
		}
	} else if text, err = readCapped(path, maxOutput+1); err != nil {
		return nil, err
	}
	if len(text) > maxOutput {
		return nil, fmt.Errorf("%s gives more than %d bytes", path, maxOutput)
	}
	return parseFact(text)
}

// parseFact reads JSON, else INI text.
func parseFact(text []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err == nil && !dec.More() {
		return wholeNumbers(v), nil
	}
	return parseINI(string(text))
}

// wholeNumbers makes int where JSON's number is one, else float64.
func wholeNumbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil && n >= -1<<53 && n <= 1<<53 {
			return int(n)
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = wholeNumbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = wholeNumbers(v[k])
		}
	}
	return v
}

// parseINI reads sections of key = value or key: value as text, keys in lower
// case like Python's parser.
func parseINI(text string) (map[string]any, error) {
	out := map[string]any{}
	var section map[string]any
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && line[len(line)-1] == ']':
			section = map[string]any{}
			out[line[1:len(line)-1]] = section
		case section == nil:
			return nil, fmt.Errorf("line %d is neither JSON nor in a [section]", n)
		default:
			at := strings.IndexAny(line, "=:")
			if at < 1 {
				return nil, fmt.Errorf("line %d is no key = value", n)
			}
			section[strings.ToLower(strings.TrimSpace(line[:at]))] = strings.TrimSpace(line[at+1:])
		}
	}
	return out, nil
}

// runFact runs an executable in its own process group and kills all of it at
// the deadline.
func runFact(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, scriptLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	out := &capped{left: maxOutput + 1}
	complaint := &capped{left: 4096}
	cmd.Stdout, cmd.Stderr = out, complaint
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second // a child of it may keep the pipe
	ownGroup(cmd)
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("%s did not end within %s", path, scriptLimit)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, fmt.Errorf("%s: %w: %s", path, err, strings.TrimSpace(complaint.String()))
	}
	return out.Bytes(), nil
}

// capped keeps the first bytes and drops the rest.
type capped struct {
	bytes.Buffer
	left int
}

func (c *capped) Write(p []byte) (int, error) {
	keep := p[:min(len(p), c.left)]
	c.left -= len(keep)
	c.Buffer.Write(keep)
	return len(p), nil
}
