package main

import (
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// hostFlags are the flags of every command that reaches hosts, named as Ansible
// and ssh name them.
type hostFlags struct {
	inventory  []string
	limit      string
	extra      []string
	user       string
	key        string
	askPass    bool
	kind       string
	jump       string
	sshConfig  string
	sshOptions []string
	timeout    time.Duration
	forks      int
	allowEmpty bool
	verifyShim bool

	reconnectFor time.Duration

	become       bool
	becomeUser   string
	becomeMethod string
	askBecome    bool

	vault vaultFlags

	output    string
	verbosity int
}

// without names one-letter flags that a command needs for something else.
func (f *hostFlags) add(fs *pflag.FlagSet, without string) {
	short := func(s string) string {
		for _, w := range without {
			if s == string(w) {
				return ""
			}
		}
		return s
	}
	fs.StringArrayVarP(&f.inventory, "inventory", short("i"), nil, "inventory file, folder, script or `host,list` (repeatable)")
	fs.StringVarP(&f.limit, "limit", short("l"), "", "narrow every host set to this `pattern`")
	fs.StringArrayVarP(&f.extra, "extra-vars", short("e"), nil, "variables that win over all others: `k=v`, YAML, JSON or @file (repeatable)")
	fs.StringVarP(&f.user, "user", short("u"), "", "log in as this `user`")
	fs.StringVar(&f.key, "private-key", "", "log in with this key `file`")
	fs.BoolVarP(&f.askPass, "ask-pass", short("k"), false, "ask for the login password")
	fs.StringVarP(&f.kind, "connection", short("c"), "", "`kind` of connection: ssh, local or agent")
	fs.StringVarP(&f.jump, "jump", short("J"), "", "reach hosts through `[user@]host[:port]`, or several with commas")
	fs.StringVarP(&f.sshConfig, "ssh-config", short("F"), "", "use this `file` instead of ~/.ssh/config")
	fs.StringArrayVarP(&f.sshOptions, "ssh-option", short("o"), nil, "an option as ssh_config(5) writes it: `Key=Value` (repeatable)")
	fs.DurationVarP(&f.timeout, "timeout", short("T"), 0, "limit for each phase of connecting (default 10s)")
	fs.IntVarP(&f.forks, "forks", short("f"), 64, "hosts worked at once")
	fs.BoolVar(&f.allowEmpty, "allow-empty", false, "a pattern that matches no host is no error")
	fs.BoolVar(&f.verifyShim, "verify-shim", false, "hash the shim on each host before it is started")
	fs.BoolVarP(&f.become, "become", short("b"), false, "run as another user (root by default)")
	fs.StringVar(&f.becomeUser, "become-user", "", "the `user` to become")
	fs.StringVar(&f.becomeMethod, "become-method", "", "`how`: sudo, doas or su")
	fs.BoolVarP(&f.askBecome, "ask-become-pass", short("K"), false, "ask for the password that sudo, doas or su want")
	f.vault.add(fs)
	f.addOutput(fs, short("v"))
}

func (f *hostFlags) addOutput(fs *pflag.FlagSet, v string) {
	fs.StringVar(&f.output, "output", "", "how results look: basic, enhanced, json, ndjson or junit")
	fs.CountVarP(&f.verbosity, "verbose", v, "show more (-vv still more)")
}

// runFlags are the flags of the commands that run a .sloth file.
type runFlags struct {
	hostFlags
	values    string
	params    []string
	hosts     string
	tags      []string
	skipTags  []string
	check     bool
	diff      bool
	listHosts bool
	listTasks bool
	listTags  bool
	startAt   string
	step      bool
	noNested  bool
	stack     string
	waitLock  time.Duration
	detailed  bool

	backTo string // the run whose script and values to use

	resume       string
	rerunUnknown bool
}

// addDurable adds what a run that changes something has, and a plan has not.
func (f *runFlags) addDurable(fs *pflag.FlagSet) {
	fs.StringVar(&f.resume, "resume", "", "go on with this `run`: what is done is not run again")
	fs.BoolVar(&f.rerunUnknown, "rerun-unknown", false, "with --resume: run steps again whose outcome nobody knows")
	fs.DurationVar(&f.reconnectFor, "reconnect-for", 0, "how long to try when the link to a host breaks (default 2m)")
}

func (f *runFlags) add(fs *pflag.FlagSet, without string) {
	f.hostFlags.add(fs, without)
	v := "" // on run, -v is the values file
	if strings.Contains(without, "v") {
		v = "v"
	}
	fs.StringVarP(&f.values, "values", v, "", "values `file` (YAML) for the global values")
	fs.StringArrayVar(&f.params, "param", nil, "a parameter for params: `k=v` (repeatable)")
	fs.StringVar(&f.hosts, "hosts", "", "`pattern` for tasks that name no host")
	fs.StringSliceVarP(&f.tags, "tags", "t", nil, "only tasks with one of these `tags`")
	fs.StringSliceVar(&f.skipTags, "skip-tags", nil, "no tasks with one of these `tags`")
	fs.BoolVarP(&f.check, "check", "C", false, "show what would change and change nothing")
	fs.BoolVarP(&f.diff, "diff", "D", false, "show the difference of each change")
	fs.BoolVar(&f.listHosts, "list-hosts", false, "print the hosts of each task and stop")
	fs.BoolVar(&f.listTasks, "list-tasks", false, "print the tasks and stop")
	fs.BoolVar(&f.listTags, "list-tags", false, "print the tags and stop")
	fs.StringVar(&f.startAt, "start-at-task", "", "begin with this `task`")
	fs.BoolVar(&f.step, "step", false, "ask before each task")
	fs.BoolVar(&f.noNested, "no-nested", false, "refuse tasks that hosts ask to run elsewhere")
	fs.StringVar(&f.stack, "stack", "", "the `name` that state belongs to")
	fs.StringVar(&f.backTo, "back-to", "", "use the script and the values of this earlier `run`")
	_ = fs.MarkHidden("back-to")
	fs.DurationVar(&f.waitLock, "wait-lock", 0, "how long to wait for state or a host that another run uses")
}
