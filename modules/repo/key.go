package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
)

// signature are the arguments that say which key a repository is signed with.
type signature struct {
	Key string `lua:"key" alias:"signed_by" doc:"Key it is signed with: the armored text, a file of the controller beside the .sloth file, an absolute path on the host, or an address together with key_sha256"`
	Sum string `lua:"key_sha256" alias:"sha256,key_sum" doc:"SHA-256 of the key at the address, in hex"`
}

const (
	maxKey       = 1 << 20
	fetchTimeout = 30 * time.Second
)

var sumForm = form(`^[0-9a-fA-F]{64}$`)

func (s *signature) checkKey() error {
	s.Sum = strings.ToLower(strings.TrimPrefix(s.Sum, "sha256:"))
	switch {
	case s.Sum != "" && !s.address():
		return errors.New("key_sha256 is for a key that is an address")
	case s.address() && s.Sum == "":
		return errors.New("key_sha256 is missing: what comes from an address is believed only by its SHA-256 (sha256sum KEY)")
	case s.Sum != "" && !sumForm().MatchString(s.Sum):
		return fmt.Errorf("key_sha256 = %q is no SHA-256, which is 64 hex digits", s.Sum)
	case s.text():
		if _, err := parseKey([]byte(s.Key)); err != nil {
			return fmt.Errorf("key: %w", err)
		}
	}
	return nil
}

func (s *signature) address() bool {
	return strings.HasPrefix(s.Key, "https://") || strings.HasPrefix(s.Key, "http://")
}

func (s *signature) text() bool { return strings.Contains(s.Key, "-----BEGIN") }

// onHost reports whether the key is a file that is on the host already.
func (s *signature) onHost() bool { return strings.HasPrefix(s.Key, "/") }

// load returns the key. One that has to come from an address is first looked
// for in the files have, which may hold it from last time.
func (s *signature) load(ctx context.Context, v facts.Viewer, have ...string) (publicKey, error) {
	fail := func(err error) (publicKey, error) { return publicKey{}, fmt.Errorf("key %s: %w", s.brief(), err) }
	var data []byte
	var err error
	switch {
	case s.text():
		data = []byte(strings.TrimSpace(s.Key) + "\n")
	case s.address():
		for _, path := range have {
			if sum, err := hostfile.Hash(v, path); err == nil && sum == s.Sum {
				if data, err = hostfile.Read(v, path); err != nil {
					return fail(err)
				}
			}
		}
		if data == nil {
			if data, err = fetch(ctx, s.Key); err != nil {
				return publicKey{}, err
			}
		}
		if sum := hostfile.HashOf(data); sum != s.Sum {
			return fail(fmt.Errorf("its SHA-256 is %s, not %s; find out whether the key was changed by its owner", sum, s.Sum))
		}
	case s.onHost():
		data, err = hostfile.Read(v, s.Key)
	default:
		data, err = fromController(ctx, s.Key)
	}
	if err != nil {
		return fail(err)
	}
	k, err := parseKey(data)
	if err != nil {
		return fail(err)
	}
	return k, nil
}

func (s *signature) brief() string {
	if s.text() {
		return "text"
	}
	return s.Key
}

func fromController(ctx context.Context, name string) ([]byte, error) {
	services := modules.CallOf(ctx).Services
	if services == nil {
		return nil, errors.New("there is no controller to take it from")
	}
	f, err := services.File(ctx, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return capped(f)
}

func capped(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxKey+1))
	if err == nil && len(data) > maxKey {
		err = errors.New("it is larger than 1 MB, which no key is")
	}
	return data, err
}

// fetch reads a key from the network. That changes nothing, so a plan does it too.
func fetch(ctx context.Context, address string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("fetch the key: %w; a host without a way there takes a file of the controller", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetch the key: %s answers %s", address, resp.Status)
	}
	return capped(resp.Body)
}

// keyFile is where the key of a repository of apt goes: by the ending apt knows
// whether it is armored.
func keyFile(name string, k publicKey) string {
	if k.armored {
		return filepath.Join(keyrings, name+".asc")
	}
	return filepath.Join(keyrings, name+".gpg")
}
