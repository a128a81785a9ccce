package cron

import (
	"context"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/facts"
)

// list is cron.list.
type list struct{ table }

// Validate checks the names.
func (l *list) Validate() error { return l.checkTable() }

// Query reads the crontab.
func (l *list) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	text, err := l.read(ctx, v)
	if err != nil {
		return nil, err
	}
	jobs, vars := []any{}, map[string]any{}
	lines := split(text)
	for i := 0; i < len(lines); i++ {
		name, named := strings.CutPrefix(lines[i], marker)
		if named && i+1 < len(lines) {
			i++
		}
		if key, value, ok := variableOf(lines[i]); ok && !named {
			vars[key] = value
			continue
		}
		if j := jobOf(lines[i], l.File != "", named); j != nil {
			if named {
				j["name"] = name
			}
			jobs = append(jobs, j)
		}
	}
	return []any{jobs, vars}, nil
}

var (
	words   = `(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(.*)$`
	fiveJob = regexp.MustCompile(`^` + words)
	named   = regexp.MustCompile(`^@(\S+)\s+(.*)$`)
)

// jobOf takes a line apart; nil when it holds no job. Only behind a marker a
// comment is a job that was disabled.
func jobOf(line string, withUser, marked bool) map[string]any {
	line = strings.TrimSpace(line)
	text, comment := strings.CutPrefix(line, "#")
	if line == "" || comment && !marked {
		return nil
	}
	j := map[string]any{"disabled": comment}
	if m := named.FindStringSubmatch(text); m != nil {
		j["special_time"], text = m[1], m[2]
	} else if m := fiveJob.FindStringSubmatch(text); m != nil {
		for i, f := range fields {
			j[f.name] = m[i+1]
		}
		text = m[6]
	} else {
		return nil
	}
	if withUser {
		who, job, _ := strings.Cut(text, " ")
		j["user"], text = who, strings.TrimSpace(job)
	}
	j["job"] = text
	return j
}
