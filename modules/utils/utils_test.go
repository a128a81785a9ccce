package utils

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/machine"
	"github.com/sloth-runner/sloth/modules/spec"
)

type m = map[string]any

// controller knows one host's variables and one secret.
type controller struct{ modules.Services }

func (controller) Inventory(_ context.Context, what, arg string) (any, error) {
	if what != "vars" || arg != "web-01" {
		return nil, errors.New("there is no such host")
	}
	return m{"app": m{"port": int64(80)}, "servers": []any{"a", "b"}}, nil
}

func (controller) Secret(_ context.Context, name string) (string, error) {
	if name != "db" {
		return "", errors.New("there is none")
	}
	return "s3cret", nil
}

func call(host, function string, args ...any) ([]any, error) {
	ctx := modules.WithCall(context.Background(), modules.Call{Services: controller{}, Host: host, Env: []string{"A=old", "A=new"}})
	for _, f := range Module().Funcs {
		for _, name := range append([]string{f.Name}, f.Aliases...) {
			if name == function {
				q, err := spec.Parse(f, args, "/")
				if err != nil {
					return nil, err
				}
				return q.(modules.Querier).Query(ctx, machine.New())
			}
		}
	}
	return nil, fmt.Errorf("there is no %s", function)
}

func TestUtils(t *testing.T) {
	t.Setenv("FROM_OUTSIDE", "x")
	t.Setenv("A", "outside")
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	hidden := modules.NewSecret("hello")
	for _, c := range []struct {
		function string
		args     []any
		want     any // an error is compared by its text
	}{
		{"env", []any{"A"}, "new"},
		{"env", []any{"FROM_OUTSIDE"}, "x"},
		{"env", []any{"SURELY_NOT_SET", "d"}, "d"},
		{"env", []any{"SURELY_NOT_SET"}, nil},
		{"config", []any{"app.port"}, int64(80)},
		{"config", []any{"servers[2]"}, "b"},
		{"config", []any{"app.host", "d"}, "d"},
		{"secret", []any{"db"}, modules.NewSecret("s3cret")},
		{"secret", []any{"other"}, errors.New(`secret "other": there is none`)},
		{"hash", []any{"hello"}, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
		{"hash", []any{"hello", "md5"}, "5d41402abc4b2a76b9719d911017c592"},
		{"hash", []any{hidden, "sha1"}, modules.NewSecret("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d")},
		{"hash", []any{"x", "md4"}, errors.New(`algorithm = "md4": it must be one of md5, sha1, sha256, sha512; did you mean "md5"?`)},
		{"hash_file", []any{file, "sha1"}, "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"},
		{"hash_file", []any{file + "x"}, errors.New("open " + file + "x: no such file or directory")},
		{"base64", []any{"hello"}, "aGVsbG8="},
		{"base64_encode", []any{hidden}, modules.NewSecret("aGVsbG8=")},
		{"base64_decode", []any{"aGVs\nbG8"}, "hello"},
		{"base64_decode", []any{"_-8="}, "\xff\xef"},
		{"base64_decode", []any{"!"}, errors.New("the text is no Base64")},
		{"hex", []any{"hello"}, "68656c6c6f"},
		{"hex_decode", []any{"68656C6c6f"}, "hello"},
		{"hex_decode", []any{"6"}, errors.New("the text is not hexadecimal")},
		{"url_encode", []any{"a b&c"}, "a+b%26c"},
		{"url_decode", []any{"a+b%26c"}, "a b&c"},
		{"url_decode", []any{"%zz"}, errors.New("an escape in the text is broken")},
		{"random", []any{int64(0)}, errors.New("length = 0: it must be between 1 and 4096")},
	} {
		out, err := call("web-01", c.function, c.args...)
		if want, ok := c.want.(error); ok {
			if err == nil || err.Error() != want.Error() {
				t.Errorf("%s%v: got %v, %v", c.function, c.args, out, err)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(out, []any{c.want}) {
			t.Errorf("%s%v: got %#v, %v, want %#v", c.function, c.args, out, err, c.want)
		}
	}
	if out, err := call("nobody", "config", "app.port", int64(1)); err != nil || out[0] != int64(1) {
		t.Errorf("a host without variables gives %v, %v", out, err)
	}
}

func TestRandomness(t *testing.T) {
	seen := map[any]bool{}
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for range 100 {
		id, err := call("", "uuid")
		if err != nil || !form.MatchString(id[0].(string)) || seen[id[0]] {
			t.Fatalf("got %v, %v", id, err)
		}
		seen[id[0]] = true
	}
	text, err := call("", "random", int64(200))
	if err != nil || len(text[0].(string)) != 200 || strings.Trim(text[0].(string), alphabet) != "" {
		t.Errorf("got %v, %v", text, err)
	}
	hidden, err := call("", "random", m{"secret": true})
	if s, ok := hidden[0].(modules.Secret); err != nil || !ok || len(s.Reveal()) != 32 {
		t.Errorf("got %v, %v", hidden, err)
	}
}
