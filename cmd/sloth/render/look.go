package render

import "github.com/sloth-runner/sloth/runner/event"

// painter colours text, or does not.
type painter bool

func (p painter) sgr(code, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

func (p painter) bold(s string) string   { return p.sgr("1", s) }
func (p painter) dim(s string) string    { return p.sgr("2", s) }
func (p painter) red(s string) string    { return p.sgr("31", s) }
func (p painter) green(s string) string  { return p.sgr("32", s) }
func (p painter) yellow(s string) string { return p.sgr("33", s) }
func (p painter) purple(s string) string { return p.sgr("35", s) }
func (p painter) cyan(s string) string   { return p.sgr("36", s) }

// outcome is how a task on a host is shown.
type outcome int

const (
	outOK outcome = iota
	outChanged
	outSkipped
	outFailed
	outIgnored
	outUnreachable
	outCancelled
	outUnknown
	outRetry
)

func outcomeOf(d event.TaskDone) outcome {
	switch {
	case d.Status == event.Success && d.Changed:
		return outChanged
	case d.Status == event.Success:
		return outOK
	case d.Status == event.Skipped:
		return outSkipped
	case d.Ignored:
		return outIgnored
	case d.Status == event.Unreachable:
		return outUnreachable
	case d.Status == event.Cancelled:
		return outCancelled
	case d.Status == event.Unknown:
		return outUnknown
	}
	return outFailed
}

var words = map[outcome]string{
	outOK: "ok", outChanged: "changed", outSkipped: "skipped", outFailed: "failed", outIgnored: "ignored",
	outUnreachable: "unreachable", outCancelled: "cancelled", outUnknown: "unknown", outRetry: "retry",
}

func (p painter) outcome(o outcome, s string) string {
	switch o {
	case outOK:
		return p.green(s)
	case outChanged:
		return p.yellow(s)
	case outSkipped, outCancelled:
		return p.dim(s)
	case outIgnored, outRetry:
		return p.cyan(s)
	case outUnreachable, outUnknown:
		return p.purple(s)
	}
	return p.red(s)
}

// look is what tells the kinds of text apart.
type look struct {
	marks map[outcome]string // nil: words
	rule  string             // drawn across around the recap; empty: none
	bar   string             // between a prefix and a line of output
}

var looks = map[string]look{
	"basic": {bar: "|"},
	"enhanced": {bar: "│", marks: map[outcome]string{
		outOK: "✓", outChanged: "~", outSkipped: "-", outFailed: "✗", outIgnored: "!", outUnreachable: "✗", outCancelled: "■", outUnknown: "?", outRetry: "↻",
	}},
	"rich": {bar: "│", rule: "─", marks: map[outcome]string{
		outOK: "✔", outChanged: "✎", outSkipped: "↷", outFailed: "✘", outIgnored: "!", outUnreachable: "⌁", outCancelled: "■", outUnknown: "?", outRetry: "↻",
	}},
	"modern": {bar: "┊", marks: map[outcome]string{
		outOK: "●", outChanged: "◆", outSkipped: "○", outFailed: "✖", outIgnored: "▲", outUnreachable: "✖", outCancelled: "■", outUnknown: "?", outRetry: "↻",
	}},
}

// mark is the word or sign at the beginning of a line, coloured.
func (l look) mark(p painter, o outcome, plan bool) string {
	if m := l.marks[o]; m != "" {
		return p.outcome(o, m)
	}
	if plan && o == outChanged {
		return p.outcome(o, pad("change", 11))
	}
	return p.outcome(o, pad(words[o], 11))
}
