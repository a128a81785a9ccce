package stack

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sloth-runner/sloth/state"
)

const (
	texts    = "text/"
	partSize = 512 << 10
	// MaxText is the size of one text in bytes.
	MaxText = 64 << 20
	// sweepAfter is how long a text that no run names is left alone: the run
	// that wrote it may be about to be recorded.
	sweepAfter = time.Hour
)

// textHead is kept under a text's hash, in front of its parts.
type textHead struct {
	Size  int       `json:"size"`
	Parts int       `json:"parts"` // 0 until all are there
	At    time.Time `json:"at"`
}

func textKey(hash string) string { return texts + hash }

func partKey(hash string, n int) string { return fmt.Sprintf("%s%s/%04d", texts, hash, n) }

// PutText keeps a text under its hash, hex SHA-256, once.
func (s *Stacks) PutText(ctx context.Context, text []byte) (string, error) {
	if len(text) > MaxText {
		return "", fmt.Errorf("a text of %d bytes is over the limit of %d", len(text), MaxText)
	}
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	head := textHead{Size: len(text), At: s.now()}
	e, err := s.store.Get(ctx, textKey(hash))
	switch {
	case err == nil:
		if err := json.Unmarshal(e.Value, &head); err == nil && head.Parts > 0 {
			if s.now().Sub(head.At) < sweepAfter/2 {
				return hash, nil
			}
			head.At = s.now() // a sweep must not take it away from this run
			return hash, s.putHead(ctx, hash, head)
		}
	case !errors.Is(err, state.ErrNotFound):
		return "", err
	}
	// A head without parts says that they are on their way.
	if err := s.putHead(ctx, hash, head); err != nil {
		return "", err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(text); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	for packed.Len() > 0 {
		if _, err := s.store.Put(ctx, partKey(hash, head.Parts), packed.Next(partSize), 0, state.Any); err != nil {
			return "", err
		}
		head.Parts++
	}
	return hash, s.putHead(ctx, hash, head)
}

func (s *Stacks) putHead(ctx context.Context, hash string, head textHead) error {
	data, err := json.Marshal(head)
	if err != nil {
		return err
	}
	_, err = s.store.Put(ctx, textKey(hash), data, 0, state.Any)
	return err
}

// Text gives a text that was kept. What does not fit its hash is an error.
func (s *Stacks) Text(ctx context.Context, hash string) ([]byte, error) {
	e, err := s.store.Get(ctx, textKey(hash))
	if errors.Is(err, state.ErrNotFound) {
		return nil, fmt.Errorf("the text %.12s is not kept any more", hash)
	}
	if err != nil {
		return nil, err
	}
	var head textHead
	if err := json.Unmarshal(e.Value, &head); err != nil || head.Parts < 1 || head.Parts > MaxText/partSize+1 {
		return nil, fmt.Errorf("the text %.12s is damaged in the store", hash)
	}
	var packed bytes.Buffer
	for n := range head.Parts {
		p, err := s.store.Get(ctx, partKey(hash, n))
		if err != nil {
			return nil, fmt.Errorf("read the text %.12s: %w", hash, err)
		}
		packed.Write(p.Value)
	}
	z, err := gzip.NewReader(&packed)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(z, MaxText+1))
	}
	sum := sha256.Sum256(text)
	if err != nil || hex.EncodeToString(sum[:]) != hash {
		return nil, fmt.Errorf("the text %.12s is damaged in the store", hash)
	}
	return text, nil
}

// Sweep removes the texts that no run names any more.
func (s *Stacks) Sweep(ctx context.Context) (int, error) {
	used := map[string]bool{}
	for e, err := range s.store.List(ctx, history) {
		if err != nil {
			return 0, err
		}
		r, err := readRun(e)
		if err != nil {
			return 0, err
		}
		for _, h := range r.texts() {
			used[h] = true
		}
	}
	var gone []state.Op
	heads := map[string]bool{}
	n := 0
	for e, err := range s.store.List(ctx, texts) {
		if err != nil {
			return 0, err
		}
		hash, _, isPart := strings.Cut(strings.TrimPrefix(e.Key, texts), "/")
		if !isPart {
			var head textHead
			if json.Unmarshal(e.Value, &head) == nil && (used[hash] || s.now().Sub(head.At) < sweepAfter) {
				heads[hash] = true
				continue
			}
			n++
			gone = append(gone, state.Op{Kind: state.OpDelete, Key: e.Key, If: e.Revision})
			continue
		}
		if !heads[hash] {
			gone = append(gone, state.Op{Kind: state.OpDelete, Key: e.Key, If: state.Any})
		}
	}
	// A head that was renewed meanwhile keeps its transaction from happening; the
	// next sweep comes.
	if err := s.commit(ctx, gone); err != nil && !errors.Is(err, state.ErrConflict) {
		return 0, err
	}
	return n, nil
}
