package cron

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// marker is the line before a job that says its name.
const marker = "#Ansible: "

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

// join ends the last line too: cron ignores one without an end.
func join(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

func blank(lines []string) bool {
	return !slices.ContainsFunc(lines, func(l string) bool { return strings.TrimSpace(l) != "" })
}

// putJob makes line the job called name. A job that stands there without any
// name gets this one.
func putJob(lines []string, name, line string) []string {
	at := findJob(lines, name)
	if at >= 0 && lines[at] == line {
		return lines
	}
	if at >= 0 {
		out := slices.Clone(lines)
		out[at] = line
		return append(out[:at+1:at+1], dropJob(out[at+1:], name)...)
	}
	for i, l := range lines {
		if l == line && (i == 0 || !strings.HasPrefix(lines[i-1], marker)) {
			return slices.Insert(slices.Clone(lines), i, marker+name)
		}
	}
	return append(dropJob(lines, name), marker+name, line)
}

// findJob is the index of the line behind the marker, or -1.
func findJob(lines []string, name string) int {
	for i := 0; i+1 < len(lines); i++ {
		if found, ok := strings.CutPrefix(lines[i], marker); ok {
			if found == name {
				return i + 1
			}
			i++ // what follows a marker is its job, whatever it looks like
		}
	}
	return -1
}

// dropJob takes all jobs of that name away, and markers that lost their job.
func dropJob(lines []string, name string) []string {
	var out []string
	for i := 0; i < len(lines); i++ {
		found, ok := strings.CutPrefix(lines[i], marker)
		switch {
		case ok && found == name:
			i++
		case ok && i+1 < len(lines):
			out = append(out, lines[i], lines[i+1])
			i++
		case ok:
		default:
			out = append(out, lines[i])
		}
	}
	return out
}

var variableLine = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$`)

func variableOf(line string) (name, value string, ok bool) {
	m := variableLine.FindStringSubmatch(line)
	if m == nil {
		return "", "", false
	}
	value = m[2]
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	return m[1], value, true
}

func findVariable(lines []string, name string) int {
	return slices.IndexFunc(lines, func(l string) bool {
		found, _, ok := variableOf(l)
		return ok && found == name
	})
}

func dropVariable(lines []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(lines), func(l string) bool {
		found, _, ok := variableOf(l)
		return ok && found == name
	})
}

// putVariable sets a variable where it stands. A new one goes on top, where all
// jobs see it, or beside another.
func putVariable(lines []string, name, line, after, before string) ([]string, error) {
	if at := findVariable(lines, name); at >= 0 {
		if lines[at] == line {
			return lines, nil
		}
		out := slices.Clone(lines)
		out[at] = line
		return append(out[:at+1:at+1], dropVariable(out[at+1:], name)...), nil
	}
	at, beside := 0, after+before
	if beside != "" {
		if at = findVariable(lines, beside); at < 0 {
			return nil, fmt.Errorf("there is no variable %q to put %s beside", beside, name)
		}
		if after != "" {
			at++
		}
	}
	return slices.Insert(slices.Clone(lines), at, line), nil
}
