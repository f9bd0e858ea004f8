package compare

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// Org is the sandbox as an observer sees it.
type Org struct{ env map[string]string }

// NewOrg returns the org that an environment as of package server names.
func NewOrg(environ []string) *Org {
	o := &Org{env: map[string]string{}}
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		o.env[name] = value
	}
	return o
}

// Stats is what the sandbox has counted.
type Stats struct {
	Calls   int64            `json:"api_calls"`
	Routes  map[string]int64 `json:"by_path"`
	Records map[string]int64 `json:"records"`
}

// Stats asks the sandbox, which is no API call.
func (o *Org) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	text, err := o.call(ctx, http.MethodGet, "/__sandbox__/stats", "", nil)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("statistics of the sandbox: %w", err)
	}
	return s, nil
}

// Latency makes every HTTP answer come later, as over a network.
func (o *Org) Latency(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	body, err := json.Marshal(map[string]string{"latency": d.String()})
	if err != nil {
		return fmt.Errorf("set the latency: %w", err)
	}
	_, err = o.call(ctx, http.MethodPut, "/__sandbox__/faults", "", body)
	return err
}

// Count runs a query that counts, as another program.
func (o *Org) Count(ctx context.Context, soql string) (int64, error) {
	token, err := o.login(ctx)
	if err != nil {
		return 0, err
	}
	text, err := o.call(ctx, http.MethodGet, "/services/data/v66.0/query?q="+url.QueryEscape(soql), token, nil)
	if err != nil {
		return 0, err
	}
	var found struct {
		Total int64 `json:"totalSize"`
	}
	if err := json.Unmarshal(text, &found); err != nil {
		return 0, fmt.Errorf("count records: %w", err)
	}
	return found.Total, nil
}

func (o *Org) login(ctx context.Context) (string, error) {
	assertion, err := o.assertion()
	if err != nil {
		return "", err
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.env["CERTIFY_URL"]+"/services/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("log in: %w", err)
	}
	defer resp.Body.Close()
	var granted struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&granted); err != nil || granted.Token == "" {
		return "", errors.Join(fmt.Errorf("log in: the sandbox answered %d", resp.StatusCode), err)
	}
	return granted.Token, nil
}

func (o *Org) assertion() (string, error) {
	text, err := os.ReadFile(o.env["CERTIFY_KEY"])
	if err != nil {
		return "", fmt.Errorf("sign a login: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", errors.New("sign a login: the key is not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("sign a login: %w", err)
	}
	private, ok := key.(*rsa.PrivateKey)
	if !ok {
		return "", errors.New("sign a login: the key is not RSA")
	}
	claims, err := json.Marshal(map[string]any{
		"iss": o.env["CERTIFY_CLIENT_ID"], "sub": o.env["CERTIFY_USERNAME"], "aud": "https://login.salesforce.com", "exp": time.Now().Add(time.Minute).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("sign a login: %w", err)
	}
	signed := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256"}`)) + "." + base64.RawURLEncoding.EncodeToString(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, private, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sign a login: %w", err)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func (o *Org) call(ctx context.Context, method, path, token string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, o.env["CERTIFY_URL"]+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask the sandbox: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the sandbox: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("ask the sandbox: %w", err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, fmt.Errorf("%s %s: the sandbox answered %d", method, path, resp.StatusCode)
	}
	return text, nil
}
