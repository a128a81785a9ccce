package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// envDaemon tells the child of --daemon that descriptor 3 leads to its parent.
const envDaemon = "SLOTH_DAEMON"

// daemonWait is how long a daemon may take until it serves.
const daemonWait = 60 * time.Second

// daemonize starts this program again, in a session of its own, with its output
// in logFile, and returns what it said when it was ready. drop names flags that
// are not for the child.
func (a *app) daemonize(logFile string, drop ...string) (said string, pid int, err error) {
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return "", 0, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()
	self, err := os.Executable()
	if err != nil {
		return "", 0, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return "", 0, err
	}
	defer r.Close()
	cmd := exec.Command(self, withoutFlags(a.args, append(drop, "--daemon"))...)
	cmd.Args[0] = os.Args[0] // the name says which program we are
	cmd.Env = append(os.Environ(), envDaemon+"=1")
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{w}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return "", 0, err
	}
	_ = r.SetReadDeadline(time.Now().Add(daemonWait)) // a pipe has deadlines
	line, err := bufio.NewReader(io.LimitReader(r, 64<<10)).ReadString('\n')
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return "", 0, fmt.Errorf("the daemon did not get ready within %s; its log is %s", daemonWait, logFile)
	case err != nil:
		// It has ended, and has said why where its output goes.
		_ = cmd.Wait()
		if why := lastLine(logFile); why != "" {
			return "", 0, errors.New(why)
		}
		return "", 0, fmt.Errorf("the daemon ended at once; its log is %s", logFile)
	}
	pid = cmd.Process.Pid
	return strings.TrimSpace(line), pid, cmd.Process.Release()
}

func withoutFlags(args, drop []string) []string {
	var out []string
	for i := 0; i < len(args); i++ {
		name, _, whole := strings.Cut(args[i], "=")
		gone := false
		for _, d := range drop {
			gone = gone || name == strings.TrimSuffix(d, " ")
			if name == strings.TrimSuffix(d, " ") && strings.HasSuffix(d, " ") && !whole {
				i++ // its value
			}
		}
		if !gone {
			out = append(out, args[i])
		}
	}
	return out
}

// lastLine is what the program said last in its log, from where it began to
// complain.
func lastLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	at := strings.LastIndex(string(text), "sloth: ")
	if at < 0 {
		return ""
	}
	// As printError wrote it, which is about to write it again.
	return strings.TrimSpace(strings.ReplaceAll(string(text[at+len("sloth: "):]), "\n       ", "\n"))
}

// ready tells the parent of a daemon, if there is one, that we serve.
func ready(said string) {
	if os.Getenv(envDaemon) == "" {
		return
	}
	_ = os.Unsetenv(envDaemon) // commands that we start are no daemons
	f := os.NewFile(3, "parent")
	fmt.Fprintln(f, strings.ReplaceAll(said, "\n", " "))
	f.Close()
}

// logger writes lines with the time in front.
func logger(w io.Writer) func(format string, args ...any) {
	return func(format string, args ...any) {
		// One write a line: several goroutines say something.
		_, _ = fmt.Fprintf(w, "%s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
	}
}
