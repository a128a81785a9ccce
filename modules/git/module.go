// Package git is the module git, over the program of that name. Its functions
// raise when git fails.
package git

import (
	"github.com/sloth-runner/sloth/modules"
)

const (
	repoResult = "the repository {success, changed, path, url, head, branch, …}, with the functions as methods"
	toolResult = "{success, changed, path, head, branch, exit_code, stdout, stderr}"
)

// Module describes the module git.
func Module() modules.Module {
	return modules.Module{
		Name:    "git",
		Summary: "Clone, update, commit and push repositories; raises when git fails.",
		Funcs: []modules.Func{
			{
				Name: "clone", Summary: "Clone a repository, or bring the clone that is there up to date.",
				Example: `local ok, repo = pcall(git.clone, "/srv/none.git", "/tmp/none", { branch = "main" })`, Returns: repoResult,
				Methods: true, New: newClone,
			},
			{
				Name: "checkout", Summary: "Check out a branch, tag or commit; what is not there yet is fetched.",
				Example: `local ok, r = pcall(git.checkout, "/srv/app", "v1.2")`, Returns: toolResult, New: newCheckout,
			},
			{
				Name: "pull", Summary: "Fetch and fast-forward the current branch.",
				Example: `local ok, r = pcall(git.pull, "/srv/app")`, Returns: toolResult, New: newPull,
			},
			{
				Name: "push", Summary: "Push the current branch.",
				Example: `local ok, r = pcall(git.push, "/srv/app", { tags = true })`, Returns: toolResult, New: newPush,
			},
			{
				Name: "commit", Summary: "Commit what has changed; with nothing changed it does nothing.",
				Example: `local ok, r = pcall(git.commit, "/srv/app", "Update the configuration")`, Returns: toolResult, New: newCommit,
			},
			{
				Name: "status", Summary: "Tell the state of a working tree.",
				Example: `local ok, s = pcall(git.status, "/srv/app")`,
				Returns: "{clean, branch, head, upstream, ahead, behind, files = {{path, status}, …}}", New: newStatus,
			},
			{
				Name: "is_repo", Summary: "Tell whether a folder is a git repository.",
				Example: `local yes = git.is_repo("/srv/app")`, Returns: "boolean", New: func() any { return &isRepo{} },
			},
			{
				Name: "ensure_clean", Summary: "Raise unless the working tree has no changes, or with discard throw them away.",
				Example: `local ok, why = pcall(git.ensure_clean, "/srv/app")`, Returns: toolResult, New: newEnsureClean,
			},
		},
	}
}
