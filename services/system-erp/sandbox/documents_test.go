package sandbox_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-erp/sandbox"
)

const deliveries = "/sap/opu/odata/sap/API_OUTBOUND_DELIVERY_SRV;v=0002/"

func TestDeliveries(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	r := c.write("POST", orders+"A_SalesOrder", order(c.customer(), "1"))
	require.Equal(t, 201, r.status, r.text)
	number := r.str("d", "SalesOrder")
	at := orders + "A_SalesOrder('" + number + "')?$expand=to_Item/to_ScheduleLine"
	status := func() []string {
		o := c.get(at)
		return []string{
			o.str("d", "OverallDeliveryStatus"), o.str("d", "to_Item", "results", 0, "DeliveryStatus"),
			o.str("d", "to_Item", "results", 0, "to_ScheduleLine", "results", 0, "DeliveredQtyInOrderQtyUnit"),
		}
	}
	require.Equal(t, []string{"A", "A", "0.000"}, status())
	first := c.control("POST", "orders/"+number+"/deliver", `{"items":{"10":"0.5"},"planned":true,"bill":"BL-1"}`).str("document")
	require.Equal(t, []string{"B", "B", "0.000"}, status(), "it is planned, and nothing has left")
	header := c.get(deliveries + "A_OutbDeliveryHeader('" + first + "')?$expand=to_DeliveryDocumentItem")
	require.Equal(t, []string{"A", "BL-1"}, []string{header.str("d", "OverallGoodsMovementStatus"), header.str("d", "BillOfLading")})
	require.Nil(t, header.at("d", "ActualGoodsMovementDate"))
	require.Equal(t, "0.500", header.str("d", "to_DeliveryDocumentItem", "results", 0, "ActualDeliveryQuantity"))
	c.control("POST", "deliveries/"+first+"/issue", "")
	require.Equal(t, []string{"B", "B", "0.500"}, status())
	header = c.get(deliveries + "A_OutbDeliveryHeader('" + first + "')")
	require.Equal(t, "C", header.str("d", "OverallGoodsMovementStatus"))
	require.NotEmpty(t, header.str("d", "ActualGoodsMovementDate"))
	for _, bad := range []string{`{"items":{"10":"1.6"}}`, `{"items":{"10":"0"}}`, `{"items":{"99":"1"}}`} {
		require.Equal(t, http.StatusBadRequest, c.do("POST", "/__sandbox__/orders/"+number+"/deliver", bad).status, bad)
	}
	require.Equal(t, http.StatusBadRequest, c.do("POST", "/__sandbox__/deliveries/"+first+"/issue", "").status, "once")
	c.control("POST", "orders/"+number+"/deliver", "")
	require.Equal(t, []string{"C", "C", "2.000"}, status())
	stock := c.get("/sap/opu/odata/sap/API_MATERIAL_STOCK_SRV/A_MatlStkInAcctMod?$filter=Material%20eq%20'PUMP-1'")
	require.Equal(t, "8.00000000000000", stock.str("d", "results", 0, "MatlWrhsStkQtyInMatlBaseUnit"))
	require.Equal(t, http.StatusBadRequest, c.do("POST", "/__sandbox__/orders/"+number+"/deliver", "").status)
}

func TestScheduleLines(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{})
	body := strings.Replace(order(c.customer(), "1"), `"RequestedQuantity":"2"`,
		`"RequestedQuantity":"5","to_ScheduleLine":[{"RequestedDeliveryDate":"/Date(1900000000000)/","ScheduleLineOrderQuantity":"2"},{"ScheduleLineOrderQuantity":"3"}]`, 1)
	r := c.write("POST", orders+"A_SalesOrder", body)
	require.Equal(t, 201, r.status, r.text)
	at := orders + "A_SalesOrderItem(SalesOrder='" + r.str("d", "SalesOrder") + "',SalesOrderItem='10')"
	lines := func() []any {
		return c.get(at + "/to_ScheduleLine").rows()
	}
	got := lines()
	require.Len(t, got, 2)
	day := func(i int) string { return got[i].(map[string]any)["RequestedDeliveryDate"].(string) }
	require.Equal(t, "/Date(1900000000000)/", day(0), "the date that was asked for")
	require.NotEqual(t, day(0), day(1), "that of the order")
	require.Equal(t, "3.000", got[1].(map[string]any)["ConfdOrderQtyByMatlAvailCheck"])
	require.Equal(t, 204, c.write("PATCH", at, `{"RequestedQuantity":"4"}`).status)
	require.Equal(t, "2.000", lines()[1].(map[string]any)["ScheduleLineOrderQuantity"], "the last line takes the difference")
	require.Equal(t, 204, c.write("PATCH", at, `{"RequestedQuantity":"1"}`).status)
	got = lines()
	require.Len(t, got, 1)
	require.Equal(t, "/Date(1900000000000)/", day(0))
}

// shifted is a clock of the test's own.
type shifted struct {
	mu sync.Mutex
	by time.Duration
}

func (s *shifted) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC).Add(s.by)
}

func (s *shifted) set(by time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.by = by
}

func TestIdempotentServices(t *testing.T) {
	t.Parallel()
	clock := &shifted{}
	c := setup(t, sandbox.Config{Repeatability: true, Now: clock.now})
	id := c.customer()
	created := clock.now().Format(http.TimeFormat)
	send := func(request, body string) result {
		return c.write("POST", orders+"A_SalesOrder", body, "RequestID", request, "RepeatabilityCreation", created)
	}
	const one, two, three = "0123456789ABCDEF0123456789ABCDEF", "0123456789ABCDEF0123456789ABCDE0", "0123456789ABCDEF0123456789ABCDE1"
	first := send(one, order(id, "1"))
	require.Equal(t, 201, first.status, first.text)
	require.Equal(t, "accepted", first.header.Get("RepeatabilityResult"))
	again := send(one, order(id, "1"))
	require.Equal(t, []any{201, first.text, "accepted"}, []any{again.status, again.text, again.header.Get("RepeatabilityResult")})
	require.NotEqual(t, first.str("d", "SalesOrder"), send(two, order(id, "1")).str("d", "SalesOrder"))
	bad := send(three, order("4711", "1"))
	require.Equal(t, 400, bad.status)
	require.Equal(t, bad.text, send(three, order(id, "1")).text, "a refusal is repeated too")
	require.Equal(t, 400, send("short", order(id, "1")).status)
	require.Len(t, c.get(orders+"A_SalesOrder").rows(), 2)
	c.token = ""
	clock.set(7 * time.Hour)
	require.Equal(t, "/IWBEP/CM_COS/005", send(one, order(id, "1")).str("error", "code"))
	c.token = ""
	clock.set(13 * time.Hour)
	require.Equal(t, "/IWBEP/CM_COS/005", send("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", order(id, "1")).str("error", "code"), "by the time of its creation")
	t.Run("without customizing there are none", func(t *testing.T) {
		t.Parallel()
		c := setup(t, sandbox.Config{})
		r := c.write("POST", orders+"A_SalesOrder", order(c.customer(), "1"), "RequestID", one, "RepeatabilityCreation", created)
		require.Equal(t, []any{400, "unsupported"}, []any{r.status, r.header.Get("RepeatabilityResult")})
		require.Empty(t, c.get(orders+"A_SalesOrder").rows())
	})
}

func TestLanguage_TheOnlyOne(t *testing.T) {
	t.Parallel()
	c := setup(t, sandbox.Config{Language: "en"})
	require.Equal(t, 400, c.get(partners).status)
	require.Equal(t, 400, c.get(partners, "Accept-Language", "de").status)
	require.Equal(t, 200, c.get(partners, "Accept-Language", "en").status)
	require.Equal(t, 200, c.get(partners+"?sap-language=EN").status)
	require.Equal(t, 400, c.get(partners+"?sap-language=DE", "Accept-Language", "en").status)
}

func TestStamps_OfThePast(t *testing.T) {
	t.Parallel()
	clock := &shifted{}
	c := setup(t, sandbox.Config{Now: clock.now})
	id := c.customer()
	tag := c.get(partners + "A_BusinessPartner('" + id + "')").header.Get("Etag")
	c.control("PUT", "partners/"+id, `{"name":"Late","behind":"11h"}`)
	r := c.get(partners + "A_BusinessPartner('" + id + "')")
	require.Equal(t, []string{"Late", "/Date(1795046400000)/", "PT23H00M00S"}, []string{r.str("d", "OrganizationBPName1"), r.str("d", "LastChangeDate"), r.str("d", "LastChangeTime")})
	require.NotEqual(t, tag, r.header.Get("Etag"))
	require.Equal(t, 404, c.do("PUT", "/__sandbox__/partners/4711", `{"name":"x","behind":"1s"}`).status)
	require.Equal(t, 400, c.do("PUT", "/__sandbox__/partners/"+id, `{"name":"x","behind":"-1s"}`).status)
}
