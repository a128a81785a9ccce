package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docs/reliability.md names a test for each fault, and each of those tests exists.
func TestThePromisesHaveTheirTests(t *testing.T) {
	text, err := os.ReadFile("../../docs/reliability.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func (TestFault\d\d\w*)\(`)
	err = filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range function.FindAllSubmatch(source, -1) {
			tests[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	agents := map[int]bool{58: true, 59: true, 60: true}
	row := regexp.MustCompile(`(?m)^\| (\d+) \|[^\n]*\| ([^|\n]+) \|$`)
	seen := map[int]bool{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil || seen[n] {
			t.Errorf("case %s is there twice", m[1])
		}
		seen[n] = true
		if m[2] == "agent" {
			if !agents[n] {
				t.Errorf("case %d has no test", n)
			}
			continue
		}
		for _, name := range strings.Split(m[2], ", ") {
			name = strings.Trim(name, "`")
			if !tests[name] {
				t.Errorf("case %d: there is no %s", n, name)
			}
			if !strings.HasPrefix(name, "TestFault"+strings.Repeat("0", 2-min(2, len(m[1])))+m[1]) {
				t.Errorf("case %d names %s, a test of another case", n, name)
			}
		}
	}
	for n := 1; n <= 65; n++ {
		if !seen[n] {
			t.Errorf("case %d is missing", n)
		}
	}
}
