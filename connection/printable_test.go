package connection

import "testing"

func TestPrintable(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"web-01: größer":            "web-01: größer",
		"a\x1b[2Jb\r\nc\td\x7f":     "a?[2Jb??c?d?",
		"c1 \u009b2J, \xff, \ufffd": "c1 ?2J, ?, ?",
		"exactly twenty bytes":      "exactly twenty bytes",
		"twenty bytes, and more":    "twenty bytes, and mo…",
		"the cut is in here üü":     "the cut is in here ü…",
	} {
		limit := 20
		if in == "the cut is in here üü" {
			limit = 22
		}
		if got := Printable(in, limit); got != want {
			t.Errorf("%q gave %q, want %q", in, got, want)
		}
	}
}
