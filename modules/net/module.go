// Package net is the module net; package http does its work.
package net

import (
	"github.com/sloth-runner/sloth/modules"
	"github.com/sloth-runner/sloth/modules/http"
)

// Module describes the module net.
func Module() modules.Module { return http.Net() }
