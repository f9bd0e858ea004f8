package sandbox_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	t.Run("a write without a token is refused and says what it wants", func(t *testing.T) {
		r := c.do("POST", partners+"A_BusinessPartner", customer)
		require.Equal(t, 403, r.status)
		require.Equal(t, "Required", r.header.Get("X-Csrf-Token"))
	})
	t.Run("a token without its cookies is worth nothing", func(t *testing.T) {
		token := c.get(partners, "X-CSRF-Token", "Fetch").header.Get("X-Csrf-Token")
		jar := c.http.Jar
		c.http.Jar = nil
		r := c.do("POST", partners+"A_BusinessPartner", customer, "X-CSRF-Token", token)
		c.http.Jar = jar
		require.Equal(t, 403, r.status)
		require.Equal(t, 201, c.do("POST", partners+"A_BusinessPartner", customer, "X-CSRF-Token", token).status)
	})
	t.Run("an ended session needs a new token", func(t *testing.T) {
		c.customer()
		c.control("DELETE", "sessions", "")
		require.Equal(t, 403, c.write("POST", partners+"A_BusinessPartner", customer).status)
		c.token = ""
		require.Equal(t, 201, c.write("POST", partners+"A_BusinessPartner", customer).status)
	})
}

func TestLogon(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{User: "INTEGRATION", Password: "secret"})
	require.Equal(t, 401, c.get(partners).status)
	require.Equal(t, 200, c.get(partners, "Authorization", "Basic aW50ZWdyYXRpb246c2VjcmV0").status)
	require.Equal(t, 401, c.get(partners+"?sap-client=200", "Authorization", "Basic aW50ZWdyYXRpb246c2VjcmV0").status)
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	for _, service := range []string{
		"API_BUSINESS_PARTNER", "API_PRODUCT_SRV", "API_SALES_ORDER_SRV", "API_MATERIAL_STOCK_SRV", "API_OUTBOUND_DELIVERY_SRV;v=0002", "API_PRODUCT_AVAILY_INFO_BASIC",
	} {
		r := c.get("/sap/opu/odata/sap/" + service + "/$metadata")
		require.Equal(t, 200, r.status, service)
		for d := xml.NewDecoder(strings.NewReader(r.text)); ; {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err, service)
		}
	}
	t.Run("an older release has other fields", func(t *testing.T) {
		t.Parallel()
		old := setup(t, sandbox.Config{Release: "2020"})
		text := old.get(orders + "$metadata").text
		require.Contains(t, text, "OverallTotalDeliveryStatus")
		require.NotContains(t, text, "RequestedQuantityISOUnit")
		require.NotContains(t, c.get(orders+"$metadata").text, "OverallTotalDeliveryStatus")
	})
}

func TestDeepInsert(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	r := c.write("POST", partners+"A_BusinessPartner", customer)
	require.Equal(t, 201, r.status, r.text)
	id := r.str("d", "BusinessPartner")
	require.Equal(t, "001ABCDEF", r.str("d", "BusinessPartnerIDByExtSystem"), "kept in upper case")
	require.Equal(t, id, r.str("d", "Customer"))
	require.NotEmpty(t, r.header.Get("Etag"))
	require.Equal(t, r.header.Get("Etag"), r.str("d", "__metadata", "etag"))
	read := c.get(partners + "A_BusinessPartner('" + "000" + id + "')?$expand=to_BusinessPartnerAddress/to_EmailAddress,to_Customer/to_CustomerSalesArea&$select=BusinessPartner,to_BusinessPartnerAddress/CityName,to_BusinessPartnerAddress/to_EmailAddress,to_Customer/to_CustomerSalesArea/Currency")
	require.Equal(t, 200, read.status, read.text)
	require.Equal(t, "München", read.str("d", "to_BusinessPartnerAddress", "results", 0, "CityName"))
	require.Equal(t, "info@acme.example", read.str("d", "to_BusinessPartnerAddress", "results", 0, "to_EmailAddress", "results", 0, "EmailAddress"))
	require.Equal(t, "EUR", read.str("d", "to_Customer", "to_CustomerSalesArea", "results", 0, "Currency"))
	require.Nil(t, read.at("d", "OrganizationBPName1"))
	t.Run("a bad child leaves nothing behind", func(t *testing.T) {
		r := c.write("POST", partners+"A_BusinessPartner", strings.Replace(customer, `"Region":"09"`, `"Region":"BY"`, 1))
		require.Equal(t, 400, r.status)
		require.Equal(t, "AM/213", r.str("error", "code"))
		require.Equal(t, "Region", r.str("error", "innererror", "errordetails", 0, "target"))
		require.NotEmpty(t, r.str("error", "innererror", "transactionid"))
		require.Len(t, c.get(partners+"A_BusinessPartner").rows(), 1)
	})
	t.Run("the same again is another partner", func(t *testing.T) { require.NotEqual(t, id, c.customer()) })
	t.Run("a customer is not created by itself", func(t *testing.T) {
		require.Equal(t, 405, c.write("POST", partners+"A_Customer", `{"Customer":"1"}`).status)
	})
	t.Run("a text that is too long is refused", func(t *testing.T) {
		require.Equal(t, 400, c.write("POST", partners+"A_BusinessPartner", strings.Replace(customer, "Acme GmbH", strings.Repeat("x", 41), 1)).status)
	})
}

func TestConditions(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	id := c.customer()
	at := partners + "A_BusinessPartner('" + id + "')"
	tag := c.get(at).header.Get("Etag")
	require.Equal(t, 428, c.write("PATCH", at, `{"SearchTerm1":"a"}`).status)
	r := c.write("PATCH", at, `{"SearchTerm1":"a"}`, "If-Match", tag)
	require.Equal(t, 204, r.status, r.text)
	require.NotEqual(t, tag, r.header.Get("Etag"))
	require.Equal(t, "A", c.get(at).str("d", "SearchTerm1"))
	require.Equal(t, 412, c.write("PATCH", at, `{"SearchTerm1":"b"}`, "If-Match", tag).status)
	require.Equal(t, 204, c.write("POST", at, `{"SearchTerm1":"c"}`, "If-Match", "*", "X-HTTP-Method", "MERGE").status)
	require.Equal(t, 400, c.write("PATCH", at, `{"to_BusinessPartnerRole":[]}`, "If-Match", "*").status, "children are not changed with their parent")
	require.Equal(t, 405, c.write("DELETE", at, "", "If-Match", "*").status)
	t.Run("a changed address does not move the stamp of its partner", func(t *testing.T) {
		tag := c.get(at).header.Get("Etag")
		address := c.get(at+"/to_BusinessPartnerAddress").str("d", "results", 0, "AddressID")
		one := partners + "A_BusinessPartnerAddress(BusinessPartner='" + id + "',AddressID='" + address + "')"
		require.Equal(t, 204, c.write("PATCH", one, `{"CityName":"Berlin"}`).status)
		require.Equal(t, tag, c.get(at).header.Get("Etag"))
	})
}

func TestBatch(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	post := func(body string) string {
		return "--set\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 7\r\n\r\nPOST A_BusinessPartner HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json\r\n\r\n" + body + "\r\n"
	}
	set := func(bodies ...string) string {
		return "--b\r\nContent-Type: multipart/mixed; boundary=set\r\n\r\n" + strings.Join(bodies, "") + "--set--\r\n"
	}
	get := "--b\r\nContent-Type: application/http\r\n\r\nGET A_BusinessPartner?$inlinecount=allpages&$top=0 HTTP/1.1\r\nAccept: application/json\r\n\r\n\r\n"
	one := `{"BusinessPartnerCategory":"2","OrganizationBPName1":"A"}`
	body := set(post(one), post(one)) + set(post(one), post(`{"BusinessPartnerCategory":"2"}`)) + get + "--b--"
	r := c.write("POST", partners+"$batch", body, "Content-Type", "multipart/mixed; boundary=b")
	require.Equal(t, 202, r.status, r.text)
	require.Equal(t, 2, strings.Count(r.text, "HTTP/1.1 201"))
	require.Equal(t, 1, strings.Count(r.text, "HTTP/1.1 400"))
	require.Contains(t, r.text, `"__count":"2"`, "what failed was undone as a whole")
	require.Contains(t, r.text, "Content-Id: 7")
	r = c.write("POST", partners+"$batch", "--b\r\nContent-Type: application/http\r\n\r\nPOST A_BusinessPartner HTTP/1.1\r\n\r\n"+one+"\r\n--b--", "Content-Type", "multipart/mixed; boundary=b")
	require.Contains(t, r.text, "HTTP/1.1 400", "a write outside of a change set")
}

func TestQueries(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{PageSize: 3, PageSizeTop: 4})
	for i := range 10 {
		r := c.write("POST", partners+"A_BusinessPartner", fmt.Sprintf(`{"BusinessPartnerCategory":"2","OrganizationBPName1":"Name %d","SearchTerm1":"x%d"}`, i, i%2))
		require.Equal(t, 201, r.status, r.text)
	}
	follow := func(path string) (ids []string, pages int) {
		for path != "" {
			r := c.get(path)
			require.Equal(t, 200, r.status, r.text)
			for i := range r.rows() {
				ids = append(ids, r.str("d", "results", i, "BusinessPartner"))
			}
			path, pages = strings.TrimPrefix(r.str("d", "__next"), c.url), pages+1
		}
		return ids, pages
	}
	for _, q := range []struct {
		query       string
		rows, pages int
	}{
		{"", 10, 4},
		{"$top=9", 9, 3},
		{"$top=3&$skip=8", 2, 1},
		{"$filter=SearchTerm1 eq 'X1'", 5, 2},
		{"$filter=SearchTerm1 eq 'x1' and (substringof('3',OrganizationBPName1) or endswith(OrganizationBPName1,'5') eq true)", 2, 1},
		{"$filter=startswith(OrganizationBPName1,'Name') and not (SearchTerm1 eq 'X0')", 5, 2},
		{"$filter=LastChangeDate ge datetime'2020-01-01T00:00:00' and LastChangeTime ge time'PT00H00M00S'", 10, 4},
		{"$filter=BusinessPartner gt '0001000003' and BusinessPartner le '1000005'", 2, 1},
		{"$filter=OrganizationBPName1 eq 'it''s'", 0, 1},
		{"$orderby=OrganizationBPName1 desc", 10, 4},
	} {
		t.Run(q.query, func(t *testing.T) {
			ids, pages := follow(partners + "A_BusinessPartner?" + strings.ReplaceAll(q.query, " ", "%20"))
			require.Len(t, ids, q.rows)
			require.Equal(t, q.pages, pages)
		})
	}
	ids, _ := follow(partners + "A_BusinessPartner?$orderby=OrganizationBPName1%20desc")
	require.Equal(t, "1000010", ids[0])
	require.Equal(t, "5", c.get(partners+"A_BusinessPartner?$inlinecount=allpages&$top=1&$filter=SearchTerm1%20eq%20'X0'").str("d", "__count"))
	require.Equal(t, "10", c.get(partners+"A_BusinessPartner/$count").text)
	for _, bad := range []string{"$filter=Nothing%20eq%20'1'", "$filter=(SearchTerm1%20eq%20'1'", "$apply=x", "$top=-1", "$expand=to_Nothing", "$filter=SearchTerm1%20eq%201"} {
		require.Equal(t, 400, c.get(partners+"A_BusinessPartner?"+bad).status, bad)
	}
	require.Equal(t, 404, c.get(partners+"A_BusinessPartner('4711')").status)
	require.Equal(t, 404, c.get(partners+"A_Nothing").status)
}

func TestOrders(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	id := c.customer()
	r := c.write("POST", orders+"A_SalesOrder", order(id, "4711"))
	require.Equal(t, 201, r.status, r.text)
	number := r.str("d", "SalesOrder")
	require.Equal(t, "29.500", r.str("d", "TotalNetAmount"))
	require.Contains(t, r.header.Get("Sap-Message"), `"severity":"warning"`, "there are no valves in stock")
	t.Run("the same order again is another order", func(t *testing.T) {
		require.Equal(t, 201, c.write("POST", orders+"A_SalesOrder", order(id, "4711")).status)
		require.Len(t, c.get(orders+"A_SalesOrder?$filter=PurchaseOrderByCustomer%20eq%20'4711'").rows(), 2)
	})
	t.Run("units and partner functions follow the language", func(t *testing.T) {
		at := orders + "A_SalesOrder('" + number + "')?$expand=to_Item,to_Partner"
		require.Equal(t, "PC", c.get(at).str("d", "to_Item", "results", 0, "RequestedQuantityUnit"))
		require.Equal(t, "SP", c.get(at).str("d", "to_Partner", "results", 0, "PartnerFunction"))
		german := c.get(at, "Accept-Language", "de")
		require.Equal(t, "ST", german.str("d", "to_Item", "results", 0, "RequestedQuantityUnit"))
		require.Equal(t, "AG", german.str("d", "to_Partner", "results", 0, "PartnerFunction"))
		require.Equal(t, "PCE", german.str("d", "to_Item", "results", 0, "RequestedQuantityISOUnit"))
	})
	t.Run("an order is delivered and billed", func(t *testing.T) {
		delivery := c.control("POST", "orders/"+number+"/deliver", "").str("document")
		items := c.get("/sap/opu/odata/sap/API_OUTBOUND_DELIVERY_SRV;v=0002/A_OutbDeliveryItem?$filter=ReferenceSDDocument%20eq%20'" + number + "'")
		require.Len(t, items.rows(), 2)
		require.Equal(t, delivery, items.str("d", "results", 0, "DeliveryDocument"))
		c.control("POST", "orders/"+number+"/bill", "")
		o := c.get(orders + "A_SalesOrder('" + number + "')?$expand=to_SubsequentProcFlowDoc")
		require.Equal(t, "C", o.str("d", "OverallSDProcessStatus"))
		require.Equal(t, "C", o.str("d", "OverallDeliveryStatus"))
		require.Len(t, o.at("d", "to_SubsequentProcFlowDoc", "results"), 2)
	})
	t.Run("stock and what is available differ by what is promised", func(t *testing.T) {
		stock := c.get("/sap/opu/odata/sap/API_MATERIAL_STOCK_SRV/A_MatlStkInAcctMod?$filter=Material%20eq%20'PUMP-1'")
		require.Equal(t, "8.00000000000000", stock.str("d", "results", 0, "MatlWrhsStkQtyInMatlBaseUnit"))
		free := c.get("/sap/opu/odata/sap/API_PRODUCT_AVAILY_INFO_BASIC/DetermineAvailabilityAt?SupplyingPlant='1010'&Material='PUMP-1'&ATPCheckingRule='A'&RequestedUTCDateTime=datetimeoffset'2026-01-01T00:00:00Z'")
		require.Equal(t, "6.000", free.str("d", "AvailableQuantityInBaseUnit"), free.text)
	})
	t.Run("unknown customers and materials are refused", func(t *testing.T) {
		require.Equal(t, "VP/199", c.write("POST", orders+"A_SalesOrder", order("4711", "1")).str("error", "code"))
		bad := c.write("POST", orders+"A_SalesOrder", strings.Replace(order(id, "1"), "VALVE", "NONE", 1))
		require.Equal(t, "V1/301", bad.str("error", "code"))
		require.Equal(t, 400, c.write("POST", orders+"A_SalesOrder", strings.Replace(order(id, "1"), `"PCE"`, `"KGM"`, 1)).status)
	})
}

func TestFaults(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	plan := func(rules string) { c.control("PUT", "faults", `{"seed":1,"rules":[`+rules+`]}`) }
	id := c.customer()
	t.Run("a lost answer was executed", func(t *testing.T) {
		plan(`{"effect":"lose_ack","method":"POST","path":"A_SalesOrder","count":1}`)
		_, err := c.raw("POST", orders+"A_SalesOrder", order(id, "1"), "X-CSRF-Token", c.token)
		require.Error(t, err)
		require.Len(t, c.get(orders+"A_SalesOrder").rows(), 1)
	})
	t.Run("a reset one was not", func(t *testing.T) {
		plan(`{"effect":"reset","method":"POST","count":1}`)
		_, err := c.raw("POST", orders+"A_SalesOrder", order(id, "1"), "X-CSRF-Token", c.token)
		require.Error(t, err)
		require.Len(t, c.get(orders+"A_SalesOrder").rows(), 1)
	})
	t.Run("a truncated answer was executed", func(t *testing.T) {
		plan(`{"effect":"truncate","method":"POST","count":1}`)
		_, err := c.raw("POST", orders+"A_SalesOrder", order(id, "2"), "X-CSRF-Token", c.token)
		require.Error(t, err)
		require.Len(t, c.get(orders+"A_SalesOrder").rows(), 2)
	})
	t.Run("a lock is a business error", func(t *testing.T) {
		plan(`{"effect":"lock","set":"A_SalesOrder","count":1}`)
		r := c.write("POST", orders+"A_SalesOrder", order(id, "3"))
		require.Equal(t, 400, r.status)
		require.Contains(t, r.str("error", "message", "value"), "currently being processed")
		require.Equal(t, 201, c.write("POST", orders+"A_SalesOrder", order(id, "3")).status)
	})
	t.Run("throttling says when to come back", func(t *testing.T) {
		plan(`{"effect":"throttle","delay":"2s","count":1}`)
		r := c.get(partners)
		require.Equal(t, 429, r.status)
		require.Equal(t, "2", r.header.Get("Retry-After"))
	})
	t.Run("an ended session", func(t *testing.T) {
		plan(`{"effect":"sessions","method":"POST","count":1}`)
		require.Equal(t, 403, c.write("POST", orders+"A_SalesOrder", order(id, "4")).status)
		c.token = ""
		require.Equal(t, 201, c.write("POST", orders+"A_SalesOrder", order(id, "4")).status)
	})
	t.Run("rules wait for their occasion", func(t *testing.T) {
		plan(`{"effect":"error","status":500,"after":1,"count":1}`)
		require.Equal(t, 200, c.get(partners).status)
		require.Equal(t, 500, c.get(partners).status)
		require.Equal(t, 200, c.get(partners).status)
	})
	r := c.do("PUT", "/__sandbox__/faults", `{"rules":[{"effect":"earthquake"}]}`)
	require.Equal(t, http.StatusBadRequest, r.status)
}
