package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/sloth-runner/sloth/state/stack"
)

var gitHash = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)

// gitOf tells where in its repository's history a folder is; nil: nowhere. It
// reads the files itself: git would obey settings of the repository.
func gitOf(dir string) *stack.Git {
	for d := dir; ; d = filepath.Dir(d) {
		dot := filepath.Join(d, ".git")
		st, err := os.Stat(dot)
		switch {
		case err != nil:
			if filepath.Dir(d) == d {
				return nil
			}
			continue
		case st.IsDir():
			return gitHead(dot, dot)
		}
		// A worktree or submodule: the file names the folder.
		to, ok := strings.CutPrefix(smallFile(dot), "gitdir: ")
		if !ok {
			return nil
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(d, to)
		}
		common := to
		if c := smallFile(filepath.Join(to, "commondir")); c != "" {
			if common = c; !filepath.IsAbs(c) {
				common = filepath.Join(to, c)
			}
		}
		return gitHead(to, common)
	}
}

func gitHead(dir, common string) *stack.Git {
	head := smallFile(filepath.Join(dir, "HEAD"))
	ref, ok := strings.CutPrefix(head, "ref: ")
	if !ok {
		return gitAt(head, "")
	}
	if !filepath.IsLocal(ref) {
		return nil
	}
	branch := strings.TrimPrefix(ref, "refs/heads/")
	if hash := smallFile(filepath.Join(common, ref)); hash != "" {
		return gitAt(hash, branch)
	}
	for line := range strings.Lines(smallFile(filepath.Join(common, "packed-refs"))) {
		if hash, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return gitAt(hash, branch)
		}
	}
	return nil
}

func gitAt(hash, branch string) *stack.Git {
	if !gitHash.MatchString(hash) {
		return nil
	}
	return &stack.Git{Commit: hash, Branch: branch}
}

// smallFile is a file's text without white space around it, or nothing.
func smallFile(path string) string {
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() || st.Size() > 8<<20 {
		return ""
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
