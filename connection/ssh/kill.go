package ssh

import (
	"context"
	"io"
	"slices"
	"strconv"
	"time"

	"golang.org/x/crypto/ssh"
)

const killTime = 8 * time.Second // to reach the host, find the group and end it

// killScript ends the process group of one command of this connection. It runs
// on a session of its own, so its parent is the sshd that started the command:
// $1 is the command's SLOTH_SESSION, or empty for a Line, which is then child
// $2 of the $3 that carry no such mark, in the order in which they started.
// The group is the child's pid: sshd makes each command the leader of its own.
const killScript = `
kids() {
	cat /proc/$PPID/task/$PPID/children 2>/dev/null && return
	ps -A -o pid= -o ppid= | while read p q; do [ "$q" = "$PPID" ] && echo $p; done
}
has() {
	grep -q "$2" /proc/$1/environ /proc/$1/cmdline 2>/dev/null || ps eww -p $1 2>/dev/null | grep -q "$2"
}
try=0
while [ $try -lt 20 ]; do
	set -- "$1" "$2" "$3"
	found= n=0
	for p in $(kids); do
		[ $p = $$ ] && continue
		if [ -n "$1" ]; then
			has $p "SLOTH_SESSION=$1" && found=$p
		elif ! has $p SLOTH_SESSION= && ! has $p sftp-server && ! has $p ^sshd; then
			n=$((n+1))
			[ $n = $2 ] && found=$p
		fi
	done
	[ -z "$1" ] && [ $n != $3 ] && found=
	[ -n "$found" ] && break
	try=$((try+1))
	sleep 0.1 2>/dev/null || sleep 1
done
[ -n "$found" ] || exit 1
kill -TERM -$found 2>/dev/null
try=0
while kill -0 -$found 2>/dev/null && [ $try -lt 10 ]; do
	try=$((try+1))
	sleep 0.1 2>/dev/null || sleep 1
done
kill -KILL -$found 2>/dev/null
exit 0`

// kill ends the command on the host, as far as the host lets us.
func (p *process) kill() {
	defer close(p.killed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), killTime)
	defer cancel()
	p.mu.Lock()
	exited := p.exited
	p.mu.Unlock()
	// Where no session is free, sshd itself is asked; where it refuses, one may
	// become free in time.
	if !exited && !p.killGroup(ctx, false) && !p.signal(ctx) {
		p.killGroup(ctx, true)
	}
	p.ch.Close()
}

// killGroup runs the script; false when there was no session for it or it did
// not find the command.
func (p *process) killGroup(ctx context.Context, wait bool) bool {
	c := p.conn
	index, count := 0, 0
	if p.marker == "" {
		c.mu.Lock()
		index, count = slices.Index(c.running, p)+1, len(c.running)
		c.mu.Unlock()
		if index == 0 {
			return true // its exec request was never sent
		}
	}
	line, err := quoteArgv([]string{"env", "SLOTH_SESSION=kill", "/bin/sh", "-c", killScript, "sh", p.marker, strconv.Itoa(index), strconv.Itoa(count)})
	if err != nil {
		return false
	}
	ch, reqs, err := c.session(ctx, wait)
	if err != nil {
		return false
	}
	stop := context.AfterFunc(ctx, func() { ch.Close() })
	defer stop()
	found := false
	ended := make(chan struct{})
	c.wg.Go(func() {
		defer close(ended)
		for r := range reqs {
			if err, isExit := exitStatus(r); isExit {
				found = err == nil
			}
			_ = r.Reply(false, nil)
		}
		c.sessions.give()
	})
	if ok, err := ch.SendRequest("exec", true, ssh.Marshal(&struct{ Command string }{"exec " + line})); err == nil && ok {
		_ = ch.CloseWrite()
		c.wg.Go(func() { _, _ = io.Copy(io.Discard, ch.Stderr()) })
		_, _ = io.Copy(io.Discard, ch)
	}
	ch.Close()
	select {
	case <-ended:
		return found
	case <-ctx.Done():
		return false
	}
}

// signal asks sshd itself, which does it for unprivileged logins only.
func (p *process) signal(ctx context.Context) bool {
	send := func(name string) bool {
		ok, err := p.ch.SendRequest("signal", true, ssh.Marshal(&struct{ Signal string }{name}))
		return ok && err == nil
	}
	stop := context.AfterFunc(ctx, func() { p.ch.Close() })
	defer stop()
	if !send("TERM") {
		return false
	}
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-p.outDone: // the group has let go of its output
	case <-timer.C:
	}
	send("KILL")
	return true
}
