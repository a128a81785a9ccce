package connection

import (
	"context"
	"errors"
	"io"
	"sync"
)

// Run starts c, feeds it stdin and copies its output until it ends. A nil
// stdin is empty, a nil writer drops what it gets. The error is that of Wait;
// failing that, the first failure of a writer or of stdin's source. A source
// that blocks after the command's end holds Run up.
func Run(ctx context.Context, conn Conn, c Command, stdin io.Reader, stdout, stderr io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first sync.Once
	var failure error // of a writer or of stdin's source
	fail := func(err error) {
		first.Do(func() { failure = err })
		cancel()
	}
	p, err := conn.Start(ctx, c)
	if err != nil {
		return err
	}
	var wg sync.WaitGroup
	out := func(dst io.Writer, src io.Reader) {
		if dst == nil {
			dst = io.Discard
		}
		wg.Go(func() {
			w := &watchedWriter{dst: dst}
			_, _ = io.Copy(w, src)
			if w.err != nil { // a reader's error is Wait's to tell
				fail(w.err)
			}
		})
	}
	out(stdout, p.Stdout())
	out(stderr, p.Stderr())
	wg.Go(func() {
		if stdin != nil {
			r := &watchedReader{src: stdin}
			_, _ = io.Copy(p.Stdin(), r)
			if r.err != nil {
				fail(r.err) // half an input must not look like a whole one
				return
			}
		}
		_ = p.Stdin().Close() // the command may have gone first
	})
	err = p.Wait()
	wg.Wait()
	if failure != nil && (err == nil || errors.Is(err, context.Canceled)) {
		return failure // the command may have ended well before anybody noticed
	}
	return err
}

// watchedWriter tells a failing destination from a failing source.
type watchedWriter struct {
	dst io.Writer
	err error
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	n, err := w.dst.Write(p)
	if err != nil {
		w.err = err
	}
	return n, err
}

type watchedReader struct {
	src io.Reader
	err error
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}
