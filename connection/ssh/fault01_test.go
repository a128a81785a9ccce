package ssh_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/sloth-runner/sloth/connection"
	"github.com/sloth-runner/sloth/connection/faultproxy"
	"github.com/sloth-runner/sloth/connection/ssh"
	"github.com/sloth-runner/sloth/connection/sshdtest"
)

// TestFault01EveryByte cuts and resets a short connection at every byte (a
// sample of them without SLOTH_EVERY_BYTE), from the version line to the last
// answer of a command: always a connection error that invites a reconnect,
// never a wrong password, a foreign key or a result that is not one.
func TestFault01EveryByte(t *testing.T) {
	t.Parallel()
	s := sshdtest.Start(t, sshdtest.Options{})
	p := faultproxy.Start(t, s.Addr())
	d := newDialer(t, ssh.Config{})
	d.Hurry()
	session := func() error {
		c, err := d.Dial(testContext(t), p.Target(s.Target()))
		if err != nil {
			return err
		}
		defer c.Close()
		var out bytes.Buffer
		if err := connection.Run(testContext(t), c, connection.Command{Argv: []string{"echo", "done"}}, nil, &out, nil); err != nil {
			return err
		}
		if out.String() != "done\n" {
			return fmt.Errorf("success with the output %q", out.String())
		}
		return nil
	}
	if err := session(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the end of the connection", func() bool { return len(p.Links()) == 0 })
	up, down := p.Bytes()
	sample := int64(15)
	if s := os.Getenv("SLOTH_EVERY_BYTE"); s != "" {
		distance, err := strconv.ParseInt(s, 10, 32)
		if err != nil || distance < 1 {
			t.Fatalf("SLOTH_EVERY_BYTE=%s is no distance", s)
		}
		sample = max(up, down) / distance
	}
	var failed int
	for _, fault := range []struct {
		name  string
		arm   func(int64, faultproxy.Direction) <-chan struct{}
		dir   faultproxy.Direction
		total int64
	}{
		{"cut to the server", p.CutAfter, faultproxy.ToServer, up},
		{"cut to the client", p.CutAfter, faultproxy.ToClient, down},
		{"reset to the server", p.ResetAfter, faultproxy.ToServer, up},
		{"reset to the client", p.ResetAfter, faultproxy.ToClient, down},
	} {
		step := max(1, fault.total/sample)
		for n := rand.Int64N(step); n < fault.total; n += step { // other bytes each time
			fired := fault.arm(n, fault.dir)
			begin := time.Now()
			err := session()
			if took := time.Since(begin); took > patience {
				t.Errorf("%s at byte %d took %v", fault.name, n, took)
			}
			select {
			case <-fired:
			default:
				p.Disarm() // a shorter exchange than the measured one
			}
			if err == nil { // before the key exchange the dialer comes again by itself
				continue
			}
			failed++
			var ce *connection.Error
			if !errors.As(err, &ce) || ce.Class != connection.ClassTCP {
				t.Errorf("%s at byte %d of %d: %v (%T %+v)", fault.name, n, fault.total, err, err, ce)
			}
		}
	}
	if failed < int(sample) {
		t.Errorf("only %d of the faults were felt", failed)
	}
	if err := session(); err != nil {
		t.Errorf("after all of it: %v", err)
	}
}
