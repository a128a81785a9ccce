package dsl

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sloth-runner/sloth/lua/bind"
	"github.com/sloth-runner/sloth/modules"
)

// EnsureDir makes a folder with those above it, or plans to. What it changes is
// recorded in env.
func EnsureDir(ctx context.Context, env *bind.Env, dir string, at Pos) error {
	v := env.Viewer
	if v == nil {
		v = env.Call.Machine
	}
	var missing []string
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		st, err := v.Stat(d)
		if err == nil {
			if !st.Mode.IsDir() {
				return fmt.Errorf("workdir %s: %s is no folder", dir, d)
			}
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("workdir %s: %w", dir, err)
		}
		missing = append(missing, d)
		if filepath.Dir(d) == d {
			break
		}
	}
	if len(missing) == 0 {
		return nil
	}
	var diff modules.Diff
	for i := len(missing) - 1; i >= 0; i-- {
		diff.Add(modules.Create(missing[i], "directory"))
	}
	rec := record(env, at, dir, diff)
	if err := permit(ctx, env, rec); err != nil {
		return err
	}
	for i := len(missing) - 1; i >= 0; i-- {
		switch {
		case env.Inert:
		case env.Check:
			if env.Overlay != nil {
				env.Overlay.PutDir(missing[i], 0o755)
			}
		default:
			if err := env.Call.Machine.Mkdir(missing[i], 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("workdir %s: %w", dir, err)
			}
		}
	}
	tell(env, rec)
	return nil
}

// removeDir removes a folder with all in it, or plans to.
func removeDir(ctx context.Context, env *bind.Env, dir string, at Pos) error {
	v := env.Viewer
	if v == nil {
		v = env.Call.Machine
	}
	if filepath.Dir(filepath.Clean(dir)) == filepath.Clean(dir) {
		return errors.New("refusing to remove the root folder")
	}
	if _, err := v.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	var diff modules.Diff
	diff.Add(modules.Delete(dir, "directory"))
	rec := record(env, at, dir, diff)
	if err := permit(ctx, env, rec); err != nil {
		return err
	}
	switch {
	case env.Inert:
	case env.Check:
		if env.Overlay != nil {
			env.Overlay.Remove(dir)
		}
	default:
		if err := env.Call.Machine.RemoveAll(dir); err != nil {
			return err
		}
	}
	tell(env, rec)
	return nil
}

const workdir = "workdir"

func record(env *bind.Env, at Pos, dir string, diff modules.Diff) bind.Record {
	return env.Sealed(bind.Record{
		Function: workdir, File: at.File, Line: at.Line, Changed: true,
		Planned: env.Check || env.Inert, Message: diff.Summary(), Diff: diff,
	}, dir)
}

// permit asks whoever surrounds the call before something is changed.
func permit(ctx context.Context, env *bind.Env, r bind.Record) error {
	if r.Planned {
		return nil
	}
	if env.Approve != nil {
		if err := env.Approve(r); err != nil {
			return err
		}
	}
	if env.Effect == nil {
		return nil
	}
	return env.Effect(ctx, workdir)
}

func tell(env *bind.Env, r bind.Record) {
	if env.Called == nil {
		return
	}
	if env.Call.NoLog {
		r.Diff, r.Message = r.Diff.Hide(), ""
	}
	env.Called(r)
}
