package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const faultsUsage = `usage: salesforce-sandbox faults set FILE [--url URL]   (FILE - is standard input)
       salesforce-sandbox faults show [--url URL]
       salesforce-sandbox faults log [--url URL]
       salesforce-sandbox faults clear [--url URL]`

// remoteTimeout is how long a running sandbox may take to answer.
const remoteTimeout = 10 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// faults speaks to the fault plan of a sandbox that is running.
func faults(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	set := flag.NewFlagSet("faults", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	base := set.String("url", "http://127.0.0.1:8080", "address of the sandbox")
	words, err := interspersed(set, args)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, faultsUsage)
	}
	url := strings.TrimRight(*base, "/") + "/__sandbox__/faults"
	switch {
	case len(words) == 2 && words[0] == "set":
		plan, err := read(words[1], in)
		if err != nil {
			return err
		}
		return send(ctx, http.MethodPut, url, plan, out)
	case len(words) == 1 && words[0] == "show":
		return send(ctx, http.MethodGet, url, nil, out)
	case len(words) == 1 && words[0] == "log":
		return send(ctx, http.MethodGet, url+"/log", nil, out)
	case len(words) == 1 && words[0] == "clear":
		return send(ctx, http.MethodDelete, url, nil, out)
	}
	return errors.New(faultsUsage)
}

// interspersed parses flags before and after the other words.
func interspersed(set *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := set.Parse(args); err != nil {
			return nil, err
		}
		if set.NArg() == 0 {
			return words, nil
		}
		words = append(words, set.Arg(0))
		args = set.Args()[1:]
	}
}

func read(file string, in io.Reader) ([]byte, error) {
	if file == "-" {
		b, err := io.ReadAll(in)
		if err != nil {
			return nil, fmt.Errorf("read the fault plan: %w", err)
		}
		return b, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the fault plan: %w", err)
	}
	return b, nil
}

// send makes one request and prints the answer, indented.
func send(ctx context.Context, method, url string, body []byte, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("address the sandbox: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("reach the sandbox: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("the sandbox refused: %s", bytes.TrimSpace(answer))
	}
	if len(answer) == 0 {
		return nil
	}
	var text bytes.Buffer
	if err := json.Indent(&text, answer, "", "  "); err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	text.WriteByte('\n')
	if _, err := text.WriteTo(out); err != nil {
		return fmt.Errorf("print the answer: %w", err)
	}
	return nil
}
