package master

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// loadLimit is how long it may take until a master knows what others share.
const loadLimit = 30 * time.Second

// moved is the file that says where the records of a folder are now.
func (s *store) moved() string { return filepath.Join(s.dir, "shared") }

// alone refuses a folder whose records are kept elsewhere: what is still in it
// is of old, with agents and users that were thrown out since.
func (s *store) alone() error {
	place, err := os.ReadFile(s.moved())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("this master shares its records in %s: start it with --state; or remove %s to go back to what it knew alone", place, s.moved())
}

// share makes the records those that all masters of the authority have. The
// first one brings what is in its folder.
func (s *store) share(ctx context.Context, shared Shared, a *pki.Authority, log func(format string, args ...any), wg *sync.WaitGroup, heard func(at ref)) error {
	secret, err := a.Secret("records of masters")
	if err != nil {
		return err
	}
	r, err := newRegistry(shared, secret, log)
	if err != nil {
		return err
	}
	r.heard = heard
	r.up.Store(true) // what is wrong now is an error
	if err := r.sameAuthority(ctx, a.Fingerprint()); err != nil {
		return err
	}
	bring := map[ref]any{}
	if s.alone() == nil {
		for name, rec := range s.agents {
			bring[ref{kindAgents, name}] = rec
		}
		for name, rec := range s.users {
			bring[ref{kindUsers, name}] = rec
		}
		for name, rec := range s.tokens {
			bring[ref{kindTokens, name}] = rec
		}
	}
	if err := r.bring(ctx, bring); err != nil {
		return err
	}
	if err := wholefile.Write(s.moved(), []byte(shared.String())); err != nil {
		return err
	}
	clear(s.agents)
	clear(s.users)
	clear(s.tokens)
	s.shared = r
	synced := make(chan struct{})
	wg.Go(func() { s.follow(ctx, synced) })
	limit := time.NewTimer(loadLimit)
	defer limit.Stop()
	select {
	case <-synced:
		return nil
	case <-limit.C:
		return &OutageError{Place: shared.String(), Err: fmt.Errorf("%s did not show its records within %s", shared, loadLimit)}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awaitsImport refuses to make an authority where there is one that is shared.
func (s *store) awaitsImport(ctx context.Context, shared Shared) error {
	if _, err := os.Stat(filepath.Join(s.dir, "ca.key")); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	theirs, revision, err := shared.Get(ctx, keyAuthority)
	if err != nil || revision == 0 {
		return err
	}
	return fmt.Errorf("the masters that share %s have the authority %.16s, and there is none in %s: bring theirs here with `sloth master export` and `sloth master import`", shared, theirs, s.dir)
}

// sameAuthority refuses to mix the agents of two authorities.
func (r *registry) sameAuthority(ctx context.Context, fingerprint string) error {
	_, err := r.shared.Commit(ctx, []Write{{Key: keyAuthority, Value: []byte(fingerprint)}})
	if err == nil {
		return nil
	}
	if !errors.Is(err, ErrChanged) {
		return err
	}
	theirs, _, err := r.shared.Get(ctx, keyAuthority)
	if err != nil {
		return err
	}
	if string(theirs) != fingerprint {
		return fmt.Errorf("the masters that share %s have the authority %.16s, and this one has %.16s: bring theirs into an empty folder with `sloth master export` and `sloth master import`", r.shared, theirs, fingerprint)
	}
	return nil
}

// batch is how many records are brought at once.
const batch = 50

// bring writes records that are not there yet.
func (r *registry) bring(ctx context.Context, records map[ref]any) error {
	var writes []Write
	for at, record := range records {
		value, err := r.close(at, record)
		if err != nil {
			return err
		}
		writes = append(writes, Write{Key: at.String(), Value: value})
	}
	for some := range slices.Chunk(writes, batch) {
		_, err := r.shared.Commit(ctx, some)
		for i := 0; errors.Is(err, ErrChanged) && i < len(some); i++ {
			// One is there: which one shows when they come alone.
			if _, one := r.shared.Commit(ctx, some[i:i+1]); !errors.Is(one, ErrChanged) && one != nil {
				err = one
			}
		}
		if err != nil && !errors.Is(err, ErrChanged) {
			return err
		}
	}
	return nil
}
