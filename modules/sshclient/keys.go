package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/sloth-runner/sloth/facts"
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/authorizedkey"
	"github.com/sloth-runner/sloth/modules/internal/hostfile"
	"github.com/sloth-runner/sloth/modules/internal/sshfile"
	"github.com/sloth-runner/sloth/modules/spec"
)

// pair is a private key file and its .pub, made where they are missing.
type pair struct {
	Path    string `lua:"path,required,path" alias:"private_key,file,name" pos:"1" doc:"Private key file; the public key goes beside it, with .pub behind the name"`
	Kind    string `lua:"type" alias:"kind,algorithm" enum:"ed25519,ecdsa,rsa" doc:"Kind of key"`
	Bits    int    `lua:"bits" alias:"size" doc:"Size of the key: 256, 384 or 521 for ecdsa, 2048 to 8192 for rsa; by default 256 and 3072"`
	Comment string `lua:"comment" doc:"Comment of the key"`
	Force   bool   `lua:"force" alias:"overwrite" doc:"Makes a new key at every call, in place of one that is there"`

	public sshfile.Key // what is there, or was made
	fresh  bool        // a new private key is needed
}

func newPair() any { return &pair{Kind: "ed25519"} }

// Validate refuses sizes that the kind has not.
func (p *pair) Validate() error {
	if strings.ContainsAny(p.Comment, "\n\r\x00") {
		return errors.New("comment must be one line")
	}
	return checkBits(p.Kind, p.Bits)
}

// Repeats is true with force.
func (p *pair) Repeats() bool { return p.Force }

const maxKeyFile = 1 << 20

func readKeyFile(v facts.Viewer, path string) (private, error) {
	f, err := v.Open(path)
	if err != nil {
		return private{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return private{}, err
	}
	key, err := readPrivate(data)
	if err != nil {
		return private{}, fmt.Errorf("%s: %w", path, err)
	}
	return key, nil
}

// Check looks for both files. A private key that is there is kept, whatever its
// kind.
func (p *pair) Check(_ context.Context, v facts.Viewer) (modules.Diff, error) {
	var d modules.Diff
	key, err := readKeyFile(v, p.Path)
	switch {
	case errors.Is(err, modules.ErrUnknown):
		return d, nil // planned before, by a call like this
	case hostfile.Missing(err), err == nil && p.Force:
		p.fresh = true
		c := modules.Create(p.Path, "private key")
		if err == nil {
			c.Before = "another private key"
		}
		d.Add(c)
		kind := p.Kind
		if p.Bits != 0 {
			kind += fmt.Sprintf(" %d", p.Bits)
		}
		d.Add(modules.Change{What: p.Path, Attr: "type", After: kind})
		d.Add(modules.Change{What: p.Path + ".pub", Attr: "comment", After: p.Comment, Unknown: true})
		return d, nil
	case err != nil:
		return d, err
	}
	if key.public.Base64 == "" {
		return d, fmt.Errorf("%s has a passphrase and is of a format that does not say its public key", p.Path)
	}
	if p.public = key.public; p.public.Comment == "" {
		p.public.Comment = p.Comment
	}
	text, err := sshfile.Read(v, p.Path+".pub")
	if err != nil {
		return d, err
	}
	if there, err := sshfile.ParseKey(text); err != nil || !there.Same(p.public) {
		c := modules.Change{What: p.Path + ".pub", Attr: "content", Before: strings.TrimSpace(text), After: p.public.String()}
		if text == "" {
			c = modules.Create(p.Path+".pub", "public key")
		}
		d.Add(c)
	}
	return d, nil
}

// Apply writes what is missing, the private key first: the public one can be
// made of it at any time.
func (p *pair) Apply(ctx context.Context, m modules.Machine, _ modules.Diff) error {
	if p.fresh {
		key, err := newKey(p.Kind, p.Bits)
		if err != nil {
			return err
		}
		p.public = key.public(p.Comment)
		data, err := key.marshal(p.Comment)
		if err != nil {
			return err
		}
		if err := write(ctx, m, p.Path, 0o600, data); err != nil {
			return err
		}
	}
	return write(ctx, m, p.Path+".pub", 0o644, []byte(p.public.String()+"\n"))
}

func write(ctx context.Context, m modules.Machine, path string, mode fs.FileMode, data []byte) error {
	return m.WriteFile(ctx, path, strings.NewReader(string(data)), modules.WriteOptions{Mode: &mode, Sync: true})
}

// Plan tells of the files that will be there.
func (p *pair) Plan(_ context.Context, _ modules.Diff, o modules.Overlay) error {
	if p.fresh {
		o.PutUnknownFile(p.Path, 0o600)
		o.PutUnknownFile(p.Path+".pub", 0o644)
		return nil
	}
	o.PutFile(p.Path+".pub", []byte(p.public.String()+"\n"), 0o644, -1, -1)
	return nil
}

// Result is the public key, where it is known.
func (p *pair) Result() map[string]any {
	out := map[string]any{"path": p.Path, "public_key_path": p.Path + ".pub"}
	if p.public.Base64 != "" {
		out["public_key"], out["fingerprint"], out["type"] = p.public.String(), p.public.Fingerprint(), p.public.Type
	}
	return out
}

type loadKey struct {
	Path string `lua:"path,required,path" alias:"private_key,file,name" pos:"1" doc:"Private key file"`
}

// Query reads the file.
func (l *loadKey) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	f, err := v.Open(l.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile))
	if err != nil {
		return nil, err
	}
	key, err := readPrivate(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", l.Path, err)
	}
	out := map[string]any{"path": l.Path, "encrypted": key.encrypted, "private_key": modules.MakeSecret(ctx, string(data))}
	if key.public.Base64 != "" {
		out["type"], out["comment"] = key.public.Type, key.public.Comment
		out["public_key"], out["fingerprint"] = key.public.String(), key.public.Fingerprint()
	}
	return []any{out}, nil
}

// authorized is the function of the module authorized_key behind one of ours.
func authorized(name string) modules.Func {
	for _, f := range authorizedkey.Module().Funcs {
		if f.Name == name {
			return f
		}
	}
	panic("authorized_key has no function " + name)
}

type keyExists struct {
	User string `lua:"user,required" alias:"name" pos:"1" doc:"User whom the key would let in"`
	Key  string `lua:"key,required" pos:"2" doc:"The public key, as its .pub file has it; its comment does not matter"`
	Path string `lua:"path,path" doc:"File of the host to read, instead of .ssh/authorized_keys in the home of the user"`
}

// Validate reads the key.
func (k *keyExists) Validate() error {
	_, err := sshfile.ParseKey(k.Key)
	if err != nil {
		return fmt.Errorf("key: %w", err)
	}
	return nil
}

// Query looks for the key among those of the user.
func (k *keyExists) Query(ctx context.Context, v facts.Viewer) ([]any, error) {
	key, err := sshfile.ParseKey(k.Key)
	if err != nil {
		return nil, err
	}
	args := map[string]any{"user": k.User}
	if k.Path != "" {
		args["path"] = k.Path
	}
	filled, err := spec.Parse(authorized("list"), []any{args}, "")
	if err != nil {
		return nil, err
	}
	out, err := filled.(modules.Querier).Query(ctx, v)
	if err != nil {
		return nil, err
	}
	for _, row := range out[0].([]any) {
		m := row.(map[string]any)
		if m["type"] == key.Type && m["key"] == key.Base64 {
			return []any{true}, nil
		}
	}
	return []any{false}, nil
}
