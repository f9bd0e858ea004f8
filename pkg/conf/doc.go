// Package conf loads the configuration of a program: defaults < file < environment < flags.
//
// The invariant: a value that was given is either used or refused. An unknown key in the file, in an environment
// variable with the program's prefix, or among the flags is an error that suggests the nearest known key; all
// problems are reported at once. Secrets are of type [Secret], which never shows itself, and may be given as files.
//
// A configuration is a struct. Nested structs are sections. The key "listen" in the section "serve" is
//
//	serve:                    in the YAML file that --config names
//	  listen: ":9101"
//	SELFSAME_SERVE_LISTEN     in the environment
//	--serve.listen            as a flag
//
// The package does not watch for changes: whoever wants to follow a file reads it again.
package conf
