package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// masterAddress completes what people write: a port is optional, and several
// addresses of masters that share their records have commas between.
func masterAddress(s string) string {
	if strings.Contains(s, ",") {
		var list []string
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); one != "" {
				list = append(list, masterAddress(one))
			}
		}
		return strings.Join(list, ",")
	}
	if _, _, err := net.SplitHostPort(s); err == nil {
		return s
	}
	return net.JoinHostPort(strings.Trim(s, "[]"), strconv.Itoa(agent.DefaultPort))
}

// loginsHome is where this user's credentials for masters are, one folder each.
func loginsHome() (string, error) {
	home, err := stateHome()
	return filepath.Join(home, "masters"), err
}

func loginDir(address string) (string, error) {
	home, err := loginsHome()
	return filepath.Join(home, strings.NewReplacer(":", "_", "/", "_", "%", "_").Replace(address)), err
}

// lastLogin is the master that was logged in to last, else this machine's.
func lastLogin() (string, error) {
	home, err := loginsHome()
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(filepath.Join(home, "current"))
	if errors.Is(err, fs.ErrNotExist) {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(agent.DefaultPort)), nil
	}
	return strings.TrimSpace(string(text)), err
}

// masterKeep is this user's credential for a master; an empty address means the
// last login.
func masterKeep(address string) (*agent.Keep, string, error) {
	var err error
	if address == "" {
		if address, err = lastLogin(); err != nil {
			return nil, "", err
		}
	}
	address = masterAddress(address)
	dir, err := loginDir(address)
	if err != nil {
		return nil, "", err
	}
	_, err = os.Stat(filepath.Join(dir, "own.crt"))
	if errors.Is(err, fs.ErrNotExist) {
		if k := loginAmong(address); k != nil {
			return k, address, nil
		}
		return nil, "", withHint(fmt.Errorf("not logged in to the master %s", address), fmt.Sprintf("sloth login %s; `sloth master start` logs its own user in.", address))
	}
	k, err := agent.OpenKeep(dir)
	return k, address, err
}

// loginAmong is a login to masters that have all of address among theirs.
func loginAmong(address string) *agent.Keep {
	home, err := loginsHome()
	if err != nil {
		return nil
	}
	list, err := filepath.Glob(filepath.Join(home, "*", "own.crt"))
	if err != nil {
		return nil
	}
	wanted := strings.Split(address, ",")
	for _, f := range list {
		k, err := agent.OpenKeep(filepath.Dir(f))
		if err != nil {
			continue // it is none of what was asked for
		}
		has := strings.Split(k.Master(), ",")
		if !slices.ContainsFunc(wanted, func(a string) bool { return !slices.Contains(has, a) }) {
			return k
		}
	}
	return nil
}

// callMaster makes one call of this user.
func callMaster(ctx context.Context, address, method string, q, r any) error {
	return withMaster(ctx, address, func(ctx context.Context, l *agent.Link, address string) error {
		return agent.Explain(address, l.Invoke(ctx, method, q, r))
	})
}

// withMaster connects to a master for what call does, which is not to take long.
func withMaster(ctx context.Context, address string, call func(ctx context.Context, l *agent.Link, address string) error) error {
	k, address, err := masterKeep(address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	d := k.Dialer(address)
	l, err := d.Dial(ctx)
	if err != nil {
		return err
	}
	defer l.Close()
	if k.Due(time.Now()) {
		// The old one is good for weeks: a failure now is no reason to stop.
		_ = k.Renew(ctx, l, agent.MethodRefresh)
	}
	err = call(ctx, l, address)
	if why := l.Rejected(d.Certificate, time.Now(), err); err != nil && why != nil {
		return why
	}
	return err
}

// listMaster reads a list that a master sends row by row.
func listMaster[R any](ctx context.Context, address, method string) ([]R, error) {
	var out []R
	err := withMaster(ctx, address, func(ctx context.Context, l *agent.Link, address string) error {
		s, err := l.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method)
		if err != nil {
			return agent.Explain(address, err)
		}
		if err := s.CloseSend(); err != nil {
			return agent.Explain(address, err)
		}
		for len(out) < maxListed {
			var row R
			switch err := s.RecvMsg(&row); {
			case errors.Is(err, io.EOF):
				return nil
			case err != nil:
				return agent.Explain(address, err)
			}
			out = append(out, row)
		}
		return fmt.Errorf("the master %s lists more than %d", address, maxListed)
	})
	return out, err
}

// maxListed bounds what a master may make us keep.
const maxListed = 100_000

// setCurrent makes a master the one that commands mean.
func setCurrent(address string) error {
	home, err := loginsHome()
	if err != nil {
		return err
	}
	return wholefile.Write(filepath.Join(home, "current"), []byte(address+"\n"))
}
