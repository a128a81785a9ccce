package main

import (
	"bytes"
	"context"
	"io"
	"maps"
	"slices"
	"sync"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/lua/engine"
)

// maxEarly bounds what is kept of the first reading's output.
const maxEarly = 1 << 20

// early keeps what a file prints while it is read without effects. A file that
// acts at its top level is read again and prints it again, so that this is
// shown only where there is no second reading.
type early struct {
	mu    sync.Mutex
	text  []byte
	lines lineLog // of a top level that acts
}

// surround makes a VM's output early, save that of tasks and of a top level
// that acts, which have events.
func (e *early) surround(o *engine.Options) {
	o.Output = func(ctx context.Context, stream string, data []byte) {
		if env := bind.EnvOf(ctx); env != nil && env.Call.Output != nil {
			env.Call.Output(stream, data)
			return
		} else if env != nil && env.Call.Log != nil {
			e.lines.write(stream, data)
			return
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.text = append(e.text, data[:min(len(data), maxEarly-len(e.text))]...)
	}
	log := func(ctx context.Context, level, message, line string) {
		if env := bind.EnvOf(ctx); env != nil && env.Call.Log != nil {
			env.Call.Log(level, message, nil)
			return
		}
		o.Output(ctx, "stdout", []byte(line))
	}
	o.Print = func(ctx context.Context, line string) { log(ctx, "print", line, line+"\n") }
	o.Log = func(ctx context.Context, level, message string) {
		log(ctx, level, message, level+": "+message+"\n")
	}
}

// showEarly writes what was kept.
func (v *invocation) showEarly(w io.Writer) {
	v.early.mu.Lock()
	text := v.early.text
	v.early.text = nil
	v.early.mu.Unlock()
	if len(text) > 0 {
		_, _ = w.Write(v.app.redactor().Bytes(text)) // as print does
	}
}

// showEarlyOutput writes what was kept before the run's own lines: to stdout
// where people read it, to stderr where it is a document.
func (v *invocation) showEarlyOutput() {
	switch v.flags.output {
	case "json", "ndjson", "junit":
		v.showEarly(v.app.stderr)
	default:
		v.showEarly(v.app.stdout)
	}
}

// lineLog makes lines of what io.write and the commands of a top level write.
type lineLog struct {
	mu   sync.Mutex
	emit func(line string)
	rest map[string][]byte // by stream
}

func (l *lineLog) write(stream string, data []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rest == nil {
		l.rest = map[string][]byte{}
	}
	l.rest[stream] = append(l.rest[stream], data...)
	text := l.rest[stream]
	for {
		line, rest, ok := bytes.Cut(text, []byte("\n"))
		if !ok && len(text) < maxEarly {
			break
		}
		l.emit(string(line))
		text = rest
	}
	l.rest[stream] = bytes.Clone(text)
}

// flush emits what no newline ended.
func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, stream := range slices.Sorted(maps.Keys(l.rest)) {
		if text := l.rest[stream]; len(text) > 0 {
			l.emit(string(text))
		}
	}
	clear(l.rest)
}
