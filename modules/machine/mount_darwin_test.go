package machine

import "errors"

func mountTmpfs(string, string) error { return errors.New("there is no tmpfs on macOS") }
