package conf

import (
	"fmt"
	"os"
	"strings"
)

// Resolve returns the secret, reading it from where it says it is: "file:PATH" is the content of a file, "env:NAME" that of an
// environment variable, everything else the secret itself. Call it when the secret is needed, so that a file that was replaced is
// read anew. Errors name the place and never the content.
func (s Secret) Resolve() (string, error) {
	text := s.Reveal()
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("read secret: %w", err)
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return "", fmt.Errorf("secret: the environment variable %s is not set", name)
		}
		return value, nil
	}
	return text, nil
}
