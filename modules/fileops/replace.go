package fileops

import (
	"context"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
)

// Replace is file_ops.replace.
type Replace struct {
	Path   string `lua:"path,required,path" pos:"1" alias:"dest,destfile,name" doc:"The file to change"`
	Regexp string `lua:"regexp,required" pos:"2" alias:"regex" doc:"What to look for; ^ and $ match at every line. Go's syntax (RE2)"`
	With   string `lua:"replace" pos:"3" alias:"with" doc:"What to put there; \\1 and \\g<name> are groups of regexp. Nothing removes the match"`
	After  string `lua:"after" doc:"Only after what this regular expression matches"`
	Before string `lua:"before" doc:"Only before what this regular expression matches"`
	Edited

	re, between *regexp.Regexp
}

// Validate compiles the regular expressions.
func (r *Replace) Validate() error {
	var err error
	if r.re, err = compile("regexp", "(?m)", r.Regexp); err != nil {
		return err
	}
	if r.After == "" && r.Before == "" {
		return nil
	}
	if _, err = compile("after", "(?s)", r.After); err != nil {
		return err
	}
	if _, err = compile("before", "(?s)", r.Before); err != nil {
		return err
	}
	switch {
	case r.Before == "":
		r.between, err = compile("after", "(?s)", "(?:"+r.After+")(?P<subsection>.*)")
	case r.After == "":
		r.between, err = compile("before", "(?s)", "^(?P<subsection>.*?)(?:"+r.Before+")")
	default:
		r.between, err = compile("after", "(?s)", "(?:"+r.After+")(?P<subsection>.*?)(?:"+r.Before+")")
	}
	return err
}

// Check edits a copy and compares.
func (r *Replace) Check(ctx context.Context, v facts.Viewer) (modules.Diff, error) {
	return r.edit(ctx, v, r.Path, missingFails, func(old []byte) ([]byte, error) {
		text := string(old)
		from, to := 0, len(text)
		if r.between != nil {
			m := r.between.FindStringSubmatchIndex(text)
			if m == nil {
				return old, nil
			}
			i := r.between.SubexpIndex("subsection")
			from, to = m[2*i], m[2*i+1]
		}
		part, err := r.replace(text[from:to])
		return []byte(text[:from] + part + text[to:]), err
	})
}

func (r *Replace) replace(text string) (string, error) {
	var out strings.Builder
	at := 0
	for _, m := range r.re.FindAllStringSubmatchIndex(text, -1) {
		out.WriteString(text[at:m[0]])
		with, err := expand(r.re, r.With, text, m)
		if err != nil {
			return "", err
		}
		out.WriteString(with)
		at = m[1]
	}
	out.WriteString(text[at:])
	return out.String(), nil
}
