// Package crm is a small Salesforce client for everything around the suite that must look at the CRM itself: loading data,
// the agreement check, scenarios and stories.
//
// Invariant: it shares nothing with the client inside system-salesforce, not even types, so that what it reads says
// something about that client. It asks for a session once and again when the session is refused; it does not retry
// anything else.
package crm

import (
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// maxBody is the most that is read of an answer, in bytes.
const maxBody = 64 << 20

// Options configures a Client; all fields but HTTP are required.
type Options struct {
	// URL is the login URL, without a path.
	URL string
	// ClientID is the consumer key of the connected app.
	ClientID string
	// Username is the user whose name stands on what is written.
	Username string
	// Key signs the assertion.
	Key *rsa.PrivateKey
	// HTTP makes the requests; a client with a timeout of one minute when nil.
	HTTP *http.Client
}

// Client speaks to one org as one user. Use New; it may be used from several goroutines at once.
type Client struct {
	o    Options
	http *http.Client

	mu    sync.Mutex
	token string
	url   string // instance URL with the path of the newest API version
}

// Record is one record, by field name. Fields that are null are absent.
type Record map[string]any

// Text returns a field as text, "" when it is absent.
func (r Record) Text(field string) string {
	switch v := r[field].(type) {
	case string:
		return v
	case nil:
		return ""
	default:
		return fmt.Sprint(v)
	}
}

// Error is an answer that refuses a request.
type Error struct {
	// Status is the HTTP status.
	Status int
	// Code is Salesforce's error code, for example "DUPLICATE_VALUE".
	Code string
	// Fields are the fields to blame, if any.
	Fields []string
}

// Error implements error. The message of the answer is left out, because it may quote what was sent.
func (e *Error) Error() string {
	out := fmt.Sprintf("salesforce answered %d %s", e.Status, e.Code)
	if len(e.Fields) > 0 {
		out += " (" + strings.Join(e.Fields, ", ") + ")"
	}
	return out
}

// Saved is the outcome of one record of a batch.
type Saved struct {
	// ID is the record's id; empty when it was refused.
	ID string
	// Err says why it was refused; nil when it was saved.
	Err *Error
}

// New returns a client. It logs in with the first call.
func New(o Options) *Client {
	c := &Client{o: o, http: o.HTTP}
	if c.http == nil {
		c.http = &http.Client{Timeout: time.Minute, Transport: http.DefaultTransport.(*http.Transport).Clone()}
	}
	return c
}

// Close gives idle connections back.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Query returns every record of a SOQL query, page by page.
func (c *Client) Query(ctx context.Context, soql string) ([]Record, error) {
	var all []Record
	path := "/query?q=" + url.QueryEscape(soql)
	for path != "" {
		var page struct {
			Records        []Record `json:"records"`
			NextRecordsURL string   `json:"nextRecordsUrl"`
		}
		if err := c.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, fmt.Errorf("query: %w", err)
		}
		for _, r := range page.Records {
			delete(r, "attributes")
			for k, v := range r {
				if v == nil {
					delete(r, k)
				}
			}
			all = append(all, r)
		}
		path = page.NextRecordsURL
	}
	return all, nil
}

// Create makes a record and returns its id.
func (c *Client) Create(ctx context.Context, object string, r Record) (string, error) {
	var out struct {
		ID string `json:"id"`
	}
	if err := c.do(ctx, http.MethodPost, "/sobjects/"+object, r, &out); err != nil {
		return "", fmt.Errorf("create %s: %w", object, err)
	}
	return out.ID, nil
}

// Update changes the fields given; a nil value clears one.
func (c *Client) Update(ctx context.Context, object, id string, r Record) error {
	if err := c.do(ctx, http.MethodPatch, "/sobjects/"+object+"/"+url.PathEscape(id), r, nil); err != nil {
		return fmt.Errorf("update %s %s: %w", object, id, err)
	}
	return nil
}

// Delete moves a record to the recycle bin.
func (c *Client) Delete(ctx context.Context, object, id string) error {
	if err := c.do(ctx, http.MethodDelete, "/sobjects/"+object+"/"+url.PathEscape(id), nil, nil); err != nil {
		return fmt.Errorf("delete %s %s: %w", object, id, err)
	}
	return nil
}

// Insert makes up to 200 records, each with an outcome of its own, in order.
func (c *Client) Insert(ctx context.Context, object string, records []Record) ([]Saved, error) {
	rows := make([]Record, 0, len(records))
	for _, r := range records {
		row := Record{"attributes": map[string]string{"type": object}}
		for k, v := range r {
			row[k] = v
		}
		rows = append(rows, row)
	}
	var out []struct {
		ID      string `json:"id"`
		Success bool   `json:"success"`
		Errors  []struct {
			StatusCode string   `json:"statusCode"`
			Fields     []string `json:"fields"`
		} `json:"errors"`
	}
	if err := c.do(ctx, http.MethodPost, "/composite/sobjects", map[string]any{"allOrNone": false, "records": rows}, &out); err != nil {
		return nil, fmt.Errorf("insert %s: %w", object, err)
	}
	if len(out) != len(records) {
		return nil, fmt.Errorf("insert %s: %d answers for %d records", object, len(out), len(records))
	}
	saved := make([]Saved, len(out))
	for i, o := range out {
		saved[i].ID = o.ID
		if !o.Success {
			saved[i].Err = &Error{Status: http.StatusOK, Code: "UNKNOWN"}
			if len(o.Errors) > 0 {
				saved[i].Err.Code, saved[i].Err.Fields = o.Errors[0].StatusCode, o.Errors[0].Fields
			}
		}
	}
	return saved, nil
}

// do makes one request with the current session, and once more with a new one when the session is refused.
func (c *Client) do(ctx context.Context, method, path string, in, out any) error {
	for again := false; ; again = true {
		token, base, err := c.session(ctx)
		if err != nil {
			return err
		}
		target := base + path
		if strings.HasPrefix(path, "/services/") {
			u, err := url.Parse(base)
			if err != nil {
				return fmt.Errorf("instance url: %w", err)
			}
			target = u.Scheme + "://" + u.Host + path
		}
		err = c.send(ctx, method, target, token, in, out)
		var refused *Error
		if !again && errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
			c.forget(token)
			continue
		}
		return err
	}
}

// session returns the current session, logging in when there is none.
func (c *Client) session(ctx context.Context) (token, base string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token != "" {
		return c.token, c.url, nil
	}
	now := time.Now()
	assertion, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{
		"iss": c.o.ClientID, "sub": c.o.Username, "aud": c.o.URL, "exp": now.Add(2 * time.Minute).Unix(),
	}).SignedString(c.o.Key)
	if err != nil {
		return "", "", fmt.Errorf("sign assertion: %w", err)
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {assertion}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL+"/services/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		return "", "", fmt.Errorf("log in: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var session struct {
		Token    string `json:"access_token"`
		Instance string `json:"instance_url"`
	}
	if err := c.answer(req, &session); err != nil {
		return "", "", fmt.Errorf("log in: %w", err)
	}
	var versions []struct {
		URL string `json:"url"`
	}
	if err := c.send(ctx, http.MethodGet, session.Instance+"/services/data", session.Token, nil, &versions); err != nil {
		return "", "", fmt.Errorf("list api versions: %w", err)
	}
	if len(versions) == 0 {
		return "", "", errors.New("list api versions: none")
	}
	c.token, c.url = session.Token, session.Instance+versions[len(versions)-1].URL
	return c.token, c.url, nil
}

func (c *Client) forget(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == token {
		c.token = ""
	}
}

func (c *Client) send(ctx context.Context, method, target, token string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.answer(req, out)
}

// answer sends the request and decodes the answer or the error in it.
func (c *Client) answer(req *http.Request, out any) error {
	res, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= 300 {
		return refusal(res.StatusCode, body)
	}
	if out == nil || len(body) == 0 {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return errors.New("decode answer: not the JSON expected")
	}
	return nil
}

// refusal reads the two forms of error bodies: a list from the REST API, one object from the token endpoint.
func refusal(code int, body []byte) error {
	var list []struct {
		Code   string   `json:"errorCode"`
		Fields []string `json:"fields"`
	}
	if json.Unmarshal(body, &list) == nil && len(list) > 0 {
		return &Error{Status: code, Code: list[0].Code, Fields: list[0].Fields}
	}
	var one struct {
		Code string `json:"error"`
	}
	if json.Unmarshal(body, &one) == nil && one.Code != "" {
		return &Error{Status: code, Code: one.Code}
	}
	return &Error{Status: code, Code: http.StatusText(code)}
}

// Quote makes text a SOQL string literal.
func Quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`).Replace(s) + "'"
}
