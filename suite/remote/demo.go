package remote

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
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	customerv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/customer/v1"
	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/seed"
	"github.com/selfsame-io/selfsame/suite/verify"
)

// maxBody is the most that is read of an answer, in bytes.
const maxBody = 16 << 20

// Demo is an open connection to a running demo. Close releases it.
type Demo struct {
	// State is where it listens.
	State State
	// CRM is Salesforce as its own users see it.
	CRM *crm.Client
	// ERP is system-erp itself, not through the fault proxy.
	ERP *grpc.ClientConn
	// Process is process-customer.
	Process *grpc.ClientConn
	// Operations and Customers are process-customer's services.
	Operations customerv1.OperationsServiceClient
	Customers  customerv1.CustomerServiceClient
	// Contacts and ERPCustomers are system-erp's services.
	ERPCustomers erpv1.CustomerServiceClient
	ERPContacts  erpv1.ContactServiceClient

	http *http.Client
}

// ErrOtherDemo means that something else listens where the state file says.
var ErrOtherDemo = errors.New("what listens there is not this demo")

// Open connects to the demo of a state and proves that it is that one.
func Open(ctx context.Context, s State) (*Demo, error) {
	d := &Demo{State: s, http: &http.Client{Timeout: time.Minute, Transport: http.DefaultTransport.(*http.Transport).Clone()}}
	if err := d.prove(ctx); err != nil {
		d.http.CloseIdleConnections()
		return nil, err
	}
	key, err := ReadKey(s.KeyFile)
	if err != nil {
		return nil, err
	}
	d.CRM = crm.New(crm.Options{URL: s.Salesforce, ClientID: s.ClientID, Username: s.Username, Key: key})
	dial := func(service string) *grpc.ClientConn {
		conn, dialErr := grpc.NewClient(s.GRPC[service], grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxBody)))
		err = errors.Join(err, dialErr)
		return conn
	}
	d.ERP, d.Process = dial("system-erp"), dial("process-customer")
	if err != nil {
		return nil, fmt.Errorf("connect to the demo: %w", err)
	}
	d.Operations, d.Customers = customerv1.NewOperationsServiceClient(d.Process), customerv1.NewCustomerServiceClient(d.Process)
	d.ERPCustomers, d.ERPContacts = erpv1.NewCustomerServiceClient(d.ERP), erpv1.NewContactServiceClient(d.ERP)
	return d, nil
}

// Close gives every connection back.
func (d *Demo) Close() error {
	d.CRM.Close()
	d.http.CloseIdleConnections()
	return errors.Join(d.ERP.Close(), d.Process.Close())
}

// prove asks the control API for the instance id.
func (d *Demo) prove(ctx context.Context) error {
	var got struct {
		Instance string `json:"instance"`
	}
	if _, err := d.JSON(ctx, http.MethodGet, d.State.Control+"/instance", nil, &got); err != nil {
		return fmt.Errorf("%w (%s does not answer)", ErrNoDemo, d.State.Control)
	}
	if got.Instance != d.State.Instance {
		return fmt.Errorf("%w: %s", ErrOtherDemo, d.State.Control)
	}
	return nil
}

// ReadKey reads the RSA key of a demo, which lets its own user into the sandbox.
func ReadKey(path string) (*rsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read key of the demo: %w", err)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(b)
	if err != nil {
		return nil, errors.New("the key of the demo is not an RSA key")
	}
	return key, nil
}

// Systems is what the agreement check needs.
func (d *Demo) Systems() verify.Systems {
	return verify.Systems{Salesforce: d.CRM, Integration: d.State.Integration, ERP: d.ERP, Foreign: seed.Legacy}
}

// Verify reads both systems and compares them.
func (d *Demo) Verify(ctx context.Context, showValues bool) (*verify.Report, error) {
	return verify.Check(ctx, d.Systems(), showValues)
}

// JSON makes a request with an optional JSON body and decodes a JSON answer. A status of 400 or more is an error.
func (d *Demo) JSON(ctx context.Context, method, target string, in, out any) (int, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return 0, fmt.Errorf("encode request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, target, body)
	if err != nil {
		return 0, fmt.Errorf("make request: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := d.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return res.StatusCode, fmt.Errorf("read answer: %w", err)
	}
	if res.StatusCode >= 400 {
		return res.StatusCode, fmt.Errorf("%s %s answered %d: %.300s", method, req.URL.Path, res.StatusCode, b)
	}
	if out != nil && len(b) > 0 {
		if err := json.Unmarshal(b, out); err != nil {
			return res.StatusCode, fmt.Errorf("decode answer: %w", err)
		}
	}
	return res.StatusCode, nil
}

// Answer is what the mobile API answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// Replayed reports whether the answer is that of an earlier request with the same key.
func (a *Answer) Replayed() bool {
	return a.Header.Get("Idempotency-Status") == "replayed" || a.Header.Get("Idempotent-Replayed") == "true"
}

// Mobile makes one request of the mobile API with the demo's token. body may be nil; header may be nil. Any status is an
// answer; an error means that there was none.
func (d *Demo) Mobile(ctx context.Context, method, path string, header http.Header, body []byte) (*Answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.State.REST+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+d.State.Token)
	if len(body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := d.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	return &Answer{Status: res.StatusCode, Header: res.Header, Body: b}, nil
}

// Token asks the development issuer for a token.
func (d *Demo) Token(ctx context.Context, subject, scope string, ttl time.Duration) (string, error) {
	return IssueToken(ctx, d.http, d.State.Issuer, subject, scope, ttl)
}

// IssueToken asks a development issuer for a token.
func IssueToken(ctx context.Context, client *http.Client, issuer, subject, scope string, ttl time.Duration) (string, error) {
	q := url.Values{"sub": {subject}, "scope": {scope}}
	if ttl != 0 {
		q.Set("ttl", ttl.String())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, issuer+"/token?"+q.Encode(), nil)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	defer res.Body.Close()
	var out struct {
		Token string `json:"access_token"`
		Error string `json:"error_description"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, maxBody)).Decode(&out); err != nil {
		return "", fmt.Errorf("ask for a token: %w", err)
	}
	if out.Token == "" {
		return "", fmt.Errorf("the issuer refused a token: %s", out.Error)
	}
	return out.Token, nil
}

// Fault is a fault between process-customer and system-erp, as the control API has it.
type Fault struct {
	ID      string `json:"id,omitempty"`
	Kind    string `json:"kind"`
	Method  string `json:"method,omitempty"`
	Times   int    `json:"times,omitempty"`
	DelayMS int64  `json:"delay_ms,omitempty"`
	Hits    int    `json:"hits,omitempty"`
}

// SetERPFault sets a fault in front of the ERP and returns its id.
func (d *Demo) SetERPFault(ctx context.Context, f Fault) (string, error) {
	var out Fault
	_, err := d.JSON(ctx, http.MethodPost, d.State.Control+"/faults", f, &out)
	return out.ID, err
}

// ERPFaults returns the faults in front of the ERP.
func (d *Demo) ERPFaults(ctx context.Context) ([]Fault, error) {
	var out struct {
		Faults []Fault `json:"faults"`
	}
	_, err := d.JSON(ctx, http.MethodGet, d.State.Control+"/faults", nil, &out)
	return out.Faults, err
}

// ClearFaults ends every fault on both sides.
func (d *Demo) ClearFaults(ctx context.Context) error {
	_, err := d.JSON(ctx, http.MethodDelete, d.State.Control+"/faults", nil, nil)
	return errors.Join(err, d.SetSalesforceFaults(ctx, map[string]any{}))
}

// SetSalesforceFaults replaces the sandbox's fault plan; an empty plan ends every fault.
func (d *Demo) SetSalesforceFaults(ctx context.Context, plan map[string]any) error {
	_, err := d.JSON(ctx, http.MethodPut, d.State.Salesforce+"/__sandbox__/faults", plan, nil)
	return err
}

// Service kills, stops or starts a service of the demo: what is "kill", "stop" or "start".
func (d *Demo) Service(ctx context.Context, name, what string) error {
	_, err := d.JSON(ctx, http.MethodPost, d.State.Control+"/services/"+url.PathEscape(name)+"/"+what, nil, nil)
	return err
}
