package infratest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/sloth-runner/sloth/facts"
)

// proc is one process.
type proc struct {
	pid, parent int
	state       byte
	comm        string // the kernel's name of it, 15 bytes at most
	args        []string
}

const maxProc = 64 << 10 // of a file below /proc

// processes lists what runs, but for what has ended (zombies), this process,
// copies of its program and everything it has started.
func processes(ctx context.Context, v facts.Viewer) ([]proc, error) {
	list, err := v.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var all []proc
	parents := map[int]int{}
	for _, st := range list {
		pid, err := strconv.Atoi(st.Name)
		if err != nil {
			continue
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		stat, err := small(v, path.Join("/proc", st.Name, "stat"))
		if err != nil {
			continue // it has ended since
		}
		p, ok := parseStat(stat)
		if !ok {
			continue
		}
		p.pid = pid
		cmdline, err := small(v, path.Join("/proc", st.Name, "cmdline"))
		if err != nil {
			continue
		}
		if len(cmdline) > 0 {
			p.args = strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")
		}
		parents[pid] = p.parent
		all = append(all, p)
	}
	self, _ := v.Readlink("/proc/self/exe")
	var out []proc
	for _, p := range all {
		if p.state == 'Z' || p.state == 'X' || mine(p.pid, parents) {
			continue
		}
		if exe, err := v.Readlink(fmt.Sprintf("/proc/%d/exe", p.pid)); err == nil && self != "" && exe == self {
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

// mine reports whether this process is pid or one of its ancestors.
func mine(pid int, parents map[int]int) bool {
	for range len(parents) + 1 { // a pid used again could make a circle
		if pid == os.Getpid() {
			return true
		}
		next, ok := parents[pid]
		if !ok {
			return false
		}
		pid = next
	}
	return false
}

func small(v facts.Viewer, file string) ([]byte, error) {
	f, err := v.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxProc))
}

// parseStat reads /proc/PID/stat: "PID (COMM) STATE PPID …", where COMM may
// hold blanks and brackets of its own.
func parseStat(b []byte) (proc, bool) {
	open, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
	if open < 0 || end < open {
		return proc{}, false
	}
	f := strings.Fields(string(b[end+1:]))
	if len(f) < 2 || len(f[0]) != 1 {
		return proc{}, false
	}
	parent, err := strconv.Atoi(f[1])
	return proc{comm: string(b[open+1 : end]), state: f[0][0], parent: parent}, err == nil
}

const maxComm = 15

var interpreters = []string{"sh", "bash", "dash", "python", "perl", "ruby", "node", "php", "java"}

// is reports whether p runs the program of that name. A name with a blank or a
// slash is looked for in the command line.
func (p proc) is(name string) bool {
	if strings.ContainsAny(name, "/ ") {
		return strings.Contains(strings.Join(p.args, " "), name)
	}
	if p.comm == name || len(name) > maxComm && p.comm == name[:maxComm] && p.base(0) == name {
		return true
	}
	if p.base(0) == name {
		return true
	}
	for _, i := range interpreters {
		if strings.HasPrefix(p.base(0), i) {
			return p.base(1) == name
		}
	}
	return false
}

// base is the name of the program in an argument. Servers write what they do
// there: "nginx: master process".
func (p proc) base(i int) string {
	if i >= len(p.args) {
		return ""
	}
	word, _, _ := strings.Cut(p.args[i], " ")
	return strings.TrimSuffix(path.Base(strings.TrimPrefix(word, "-")), ":")
}

func named(ctx context.Context, v facts.Viewer, name string) ([]string, error) {
	all, err := processes(ctx, v)
	var out []string
	for _, p := range all {
		if p.is(name) {
			out = append(out, strconv.Itoa(p.pid))
		}
	}
	return out, err
}

type process struct {
	function
	Name   string `lua:"name,required" alias:"process" pos:"1" doc:"Name of the program, or with a blank or slash in it a part of the command line"`
	Target string `lua:"target" pos:"2" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query looks through /proc.
func (p *process) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, "process "+p.Name, false, func() error {
		pids, err := named(ctx, v, p.Name)
		if err == nil && len(pids) == 0 {
			err = failure{fmt.Sprintf("a process %q", p.Name), "none"}
		}
		return err
	})
}

type processCount struct {
	function
	Name   string `lua:"name,required" alias:"process" pos:"1" doc:"Name of the program, or with a blank or slash in it a part of the command line"`
	Count  int    `lua:"count,required" pos:"2" doc:"How many there should be"`
	Target string `lua:"target" pos:"3" doc:"Name of the host to look at, \"local\" for the controller; without it the one the task runs on"`
}

// Query counts.
func (p *processCount) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	return assert(ctx, v, p, p.Target, "process "+p.Name, false, func() error {
		pids, err := named(ctx, v, p.Name)
		if err != nil || len(pids) == p.Count {
			return err
		}
		found := strconv.Itoa(len(pids))
		if n := len(pids); n > 0 {
			found += " (pid " + strings.Join(pids[:min(n, 10)], ", ")
			if n > 10 {
				found += ", …"
			}
			found += ")"
		}
		return failure{fmt.Sprintf("%d processes %q", p.Count, p.Name), found}
	})
}
