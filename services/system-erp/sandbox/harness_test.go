package sandbox_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	partners = "/sap/opu/odata/sap/API_BUSINESS_PARTNER/"
	orders   = "/sap/opu/odata/sap/API_SALES_ORDER_SRV/"
	products = "/sap/opu/odata/sap/API_PRODUCT_SRV/"
)

// client is a program that knows the protocol only.
type client struct {
	t     *testing.T
	url   string
	http  *http.Client
	token string
}

// result is an answer with its body read.
type result struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// at follows names through objects and indexes through lists.
func (r result) at(path ...any) any {
	var v any = r.body
	for _, p := range path {
		switch x := v.(type) {
		case map[string]any:
			v = x[p.(string)]
		case []any:
			if i := p.(int); i < len(x) {
				v = x[i]
			} else {
				return nil
			}
		}
	}
	return v
}

func (r result) str(path ...any) string { s, _ := r.at(path...).(string); return s }

func (r result) rows() []any { rows, _ := r.at("d", "results").([]any); return rows }

func setup(t *testing.T, cfg sandbox.Config) *client {
	t.Helper()
	if cfg.Products == nil {
		cfg.Products = []sandbox.Product{{ID: "PUMP-1", Name: "Pump", Group: "P001", Price: "12.50", Stock: "10"}, {ID: "VALVE", Price: "3"}}
	}
	s, err := sandbox.New(cfg)
	require.NoError(t, err)
	server := httptest.NewServer(s.Handler())
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t: t, url: server.URL, http: &http.Client{Jar: jar, Transport: transport}}
}

// raw sends a request as it is; an error of the connection is returned.
func (c *client) raw(method, path, body string, header ...string) (result, error) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	require.NoError(c.t, err)
	req.Header.Set("Accept", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return result{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return result{}, err
	}
	r := result{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if len(text) > 0 && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		require.NoError(c.t, json.NewDecoder(bytes.NewReader(text)).Decode(&r.body), r.text)
	}
	return r, nil
}

func (c *client) do(method, path, body string, header ...string) result {
	c.t.Helper()
	r, err := c.raw(method, path, body, header...)
	require.NoError(c.t, err)
	return r
}

func (c *client) get(path string, header ...string) result { return c.do("GET", path, "", header...) }

// write sends a modifying request with a token.
func (c *client) write(method, path, body string, header ...string) result {
	c.t.Helper()
	if c.token == "" {
		r := c.do("HEAD", partners, "", "X-CSRF-Token", "Fetch")
		c.token = r.header.Get("X-Csrf-Token")
		require.NotEmpty(c.t, c.token)
	}
	return c.do(method, path, body, append([]string{"X-CSRF-Token", c.token, "Content-Type", "application/json"}, header...)...)
}

func (c *client) control(method, path, body string) result {
	c.t.Helper()
	r := c.do(method, "/__sandbox__/"+path, body)
	require.Less(c.t, r.status, 300, r.text)
	return r
}

const customer = `{"BusinessPartnerCategory":"2","OrganizationBPName1":"Acme GmbH","BusinessPartnerIDByExtSystem":"001abcDEF",
"to_BusinessPartnerRole":[{"BusinessPartnerRole":"FLCU00"},{"BusinessPartnerRole":"FLCU01"}],
"to_BusinessPartnerAddress":{"results":[{"Country":"DE","Region":"09","CityName":"München","PostalCode":"80331","StreetName":"Marienplatz","HouseNumber":"1",
"to_EmailAddress":[{"EmailAddress":"info@acme.example","IsDefaultEmailAddress":true}]}]},
"to_BusinessPartnerTax":[{"BPTaxType":"DE0","BPTaxNumber":"DE123456789"}],
"to_Customer":{"to_CustomerCompany":[{"CompanyCode":"1010"}],"to_CustomerSalesArea":[{"SalesOrganization":"1010","DistributionChannel":"10","Division":"00","Currency":"EUR"}]}}`

func (c *client) customer() string {
	c.t.Helper()
	r := c.write("POST", partners+"A_BusinessPartner", customer)
	require.Equal(c.t, 201, r.status, r.text)
	return r.str("d", "BusinessPartner")
}

func order(soldTo, po string) string {
	return `{"SalesOrderType":"OR","SalesOrganization":"1010","DistributionChannel":"10","OrganizationDivision":"00","SoldToParty":"` + soldTo +
		`","PurchaseOrderByCustomer":"` + po + `","to_Item":[{"Material":"PUMP-1","RequestedQuantity":"2"},{"Material":"VALVE","RequestedQuantity":"1.500","RequestedQuantityISOUnit":"PCE"}]}`
}
