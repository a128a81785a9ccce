// Package utils is the module utils: the environment, secrets, identifiers,
// hashes and encodings.
package utils

import (
	"github.com/sloth-runner/sloth/modules"
)

// Module describes the module utils. Nothing in it changes the host.
func Module() modules.Module {
	return modules.Module{
		Name:    "utils",
		Summary: "Environment, configuration, secrets, identifiers, hashes and encodings.",
		Funcs: []modules.Func{
			{
				Name: "env", Summary: "Give a variable of the environment a command of this task would see.",
				Example: `local home = utils.env("HOME", "/")`, Returns: "text, or the default",
				New: func() any { return &env{} },
			},
			{
				Name: "config", Summary: "Give a setting of this host: a variable of the inventory, found by its path.",
				Example: `local port = utils.config("app.port", 8080)`, Returns: "the value, or the default",
				New: func() any { return &config{} },
			},
			{
				Name: "secret", Summary: "Give a secret by its name; it is never shown.",
				Example: `local ok, password = pcall(utils.secret, "db_password")`, Returns: "the secret",
				New: func() any { return &secret{} },
			},
			{
				Name: "uuid", Summary: "Make a new random identifier.",
				Example: `local id = utils.uuid()`, Returns: "text such as \"3f0c1d5e-8a4b-4c8e-9d7a-2b1e6f5a4c3d\"",
				New: func() any { return &uuid{} },
			},
			{
				Name: "random", Aliases: []string{"random_string"}, Summary: "Make random text of letters and digits, as a secret when asked.",
				Example: `local token = utils.random(24)`, Returns: "text",
				New: func() any { return &random{Length: 32} },
			},
			{
				Name: "hash", Summary: "Hash text.",
				Example: `local sum = utils.hash("text", "sha256")`, Returns: "hexadecimal digits",
				New: func() any { return &sum{Algorithm: "sha256"} },
			},
			{
				Name: "hash_file", Summary: "Hash a file of the host.",
				Example: `local sum = utils.hash_file("/etc/hostname")`, Returns: "hexadecimal digits",
				New: func() any { return &sumFile{Algorithm: "sha256"} },
			},
			coder("base64", []string{"base64_encode"}, "Encode text in Base64.", `local text = utils.base64("hello")`, encodeBase64),
			coder("base64_decode", nil, "Decode Base64, of the web too.", `local text = utils.base64_decode("aGVsbG8=")`, decodeBase64),
			coder("hex", []string{"hex_encode"}, "Encode text in hexadecimal digits.", `local text = utils.hex("hello")`, encodeHex),
			coder("hex_decode", nil, "Decode hexadecimal digits.", `local text = utils.hex_decode("68656c6c6f")`, decodeHex),
			coder("url_encode", nil, "Escape text for the parameters of an address.", `local text = utils.url_encode("a b&c")`, encodeURL),
			coder("url_decode", nil, "Undo url_encode.", `local text = utils.url_decode("a+b%26c")`, decodeURL),
		},
	}
}
