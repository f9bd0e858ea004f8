package sandbox_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/selfsame-io/selfsame/services/system-salesforce/sandbox"
)

// nonNull lists what an event carries besides its header.
func nonNull(e event) map[string]any {
	out := map[string]any{}
	for k, v := range e.value {
		if v == nil || k == "ChangeEventHeader" {
			continue
		}
		if m, ok := v.(map[string]any); ok {
			for p, x := range m {
				if x != nil {
					out[k+"."+p] = x
				}
			}
			continue
		}
		out[k] = v
	}
	return out
}

func TestWritesCauseEvents(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	id := o.want(201, "POST", v62+"/sobjects/Account", `{"Name":"Acme","Phone":"1","BillingCity":"Kiel","AnnualRevenue":5,"NumberOfEmployees":3}`,
		"Sforce-Call-Options", "client=relay, defaultNamespace=x").id()
	at := o.clock.now().UnixMilli()
	e := s.collect(1)[0]
	require.Equal(t, map[string]any{
		"entityName": "Account", "recordIds": []any{id}, "changeType": "CREATE", "changeOrigin": "com/salesforce/api/rest/62.0;client=relay",
		"transactionKey": e.header["transactionKey"], "sequenceNumber": int64(1), "commitTimestamp": at, "commitNumber": e.header["commitNumber"],
		"commitUser": "005000000000001AAA", "nulledFields": []any{}, "diffFields": []any{}, "changedFields": []any{},
	}, e.header)
	require.Greater(t, e.header["commitNumber"], int64(1)<<53)
	require.Equal(t, map[string]any{
		"Name": "Acme", "Phone": "1", "BillingAddress.City": "Kiel", "AnnualRevenue": 5.0, "NumberOfEmployees": int64(3), "OwnerId": "005000000000001AAA",
		"CreatedDate": at, "CreatedById": "005000000000001AAA", "LastModifiedDate": at, "LastModifiedById": "005000000000001AAA",
	}, nonNull(e))

	o.clock.advance(time.Second)
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Phone":null,"BillingCity":null,"BillingCountry":"DE","ShippingStreet":"S","Segment__c":"Enterprise","Name":"Acme"}`)
	e = s.collect(1)[0]
	require.Equal(t, "com/salesforce/api/rest/62.0", e.header["changeOrigin"])
	require.ElementsMatch(t, []string{"Phone", "LastModifiedDate", "Segment__c", "BillingAddress.City", "BillingAddress.Country", "ShippingAddress.Street"}, fieldNames(t, e.schema, e.header["changedFields"]))
	require.ElementsMatch(t, []string{"Phone", "BillingAddress.City"}, fieldNames(t, e.schema, e.header["nulledFields"]))
	require.Equal(t, map[string]any{"BillingAddress.Country": "DE", "ShippingAddress.Street": "S", "Segment__c": "Enterprise", "LastModifiedDate": at + 1000}, nonNull(e))

	o.want(204, "DELETE", v62+"/sobjects/Account/"+id, "")
	e = s.collect(1)[0]
	require.Equal(t, "DELETE", e.header["changeType"])
	require.Empty(t, nonNull(e))
	o.want(200, "POST", "/__sandbox__/undelete", `{"ids":["`+id+`"]}`)
	e = s.collect(1)[0]
	require.Equal(t, "UNDELETE", e.header["changeType"])
	require.Equal(t, "Acme", nonNull(e)["Name"])
}

// The exact bytes matter: a decoder in use understands nothing but upper-case
// digits, and needs the top-level bitmap first.
func TestBitmapsAreExact(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe(accountTopic, latest, "", 100)
	s.next()
	id := o.account(`{"Name":"Acme","BillingCity":"Kiel"}`)
	s.collect(1)
	// Index 4 is BillingAddress, 6 Phone and 7 Fax; LastModifiedDate is 17.
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"Phone":"1","Fax":"2","BillingCity":"Ulm","BillingState":"BW"}`)
	require.Equal(t, []any{"0x0200C0", "4-0x06"}, s.collect(1)[0].header["changedFields"])
	o.want(204, "PATCH", v62+"/sobjects/Account/"+id, `{"BillingCity":null}`)
	e := s.collect(1)[0]
	require.Equal(t, []any{"0x020000", "4-0x02"}, e.header["changedFields"])
	require.Equal(t, []any{"0x00", "4-0x02"}, e.header["nulledFields"])
}

func TestPersonNamesAreCompound(t *testing.T) {
	t.Parallel()
	o := setup(t)
	s := o.feed().subscribe("/data/ContactChangeEvent", latest, "", 10)
	s.next()
	id := o.want(201, "POST", v62+"/sobjects/Contact", `{"FirstName":"Jo","LastName":"Doe","MailingPostalCode":"24103"}`).id()
	e := s.collect(1)[0]
	require.Equal(t, "Doe", nonNull(e)["Name.LastName"])
	require.Equal(t, "24103", nonNull(e)["MailingAddress.PostalCode"])
	o.want(204, "PATCH", v62+"/sobjects/Contact/"+id, `{"LastName":"Roe"}`)
	e = s.collect(1)[0]
	require.ElementsMatch(t, []string{"LastModifiedDate", "Name.LastName"}, fieldNames(t, e.schema, e.header["changedFields"]))
	require.Nil(t, nonNull(e)["Name.FirstName"])
}

func TestOneTransactionIsOneSequence(t *testing.T) {
	t.Parallel()
	for _, ignore := range []bool{false, true} {
		o := setup(t, func(c *sandbox.Config) { c.IgnoreCollectionsClient = ignore })
		s := o.feed().subscribe(accountTopic, latest, "", 100)
		s.next()
		o.want(200, "POST", v62+"/composite/sobjects", accounts("A", "", "C"), "Sforce-Call-Options", "client=relay")
		got := s.collect(2)
		require.Equal(t, got[0].header["transactionKey"], got[1].header["transactionKey"])
		require.Equal(t, []any{int64(1), int64(2)}, []any{got[0].header["sequenceNumber"], got[1].header["sequenceNumber"]})
		origin := "com/salesforce/api/rest/62.0"
		if !ignore {
			origin += ";client=relay"
		}
		require.Equal(t, origin, got[0].header["changeOrigin"])
	}
}

func TestKeepAliveTellsAPosition(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.KeepAlive = 30 * time.Millisecond })
	s := o.feed().subscribe(accountTopic, latest, "", 3)
	first := s.next()
	second := s.next()
	require.Equal(t, first, second)
	o.want(201, "POST", v62+"/sobjects/Contact", `{"LastName":"not for this stream"}`)
	for s.next().latest == first.latest {
		continue // the position passes over what does not concern the stream
	}
	o.account(`{"Name":"A"}`)
	require.Len(t, s.collect(1), 1)
	require.Equal(t, 2, s.next().pending)
}

func TestOldEventsMakeRoom(t *testing.T) {
	t.Parallel()
	o := setup(t, func(c *sandbox.Config) { c.MaxEvents = 5 })
	f := o.feed()
	s := f.subscribe(accountTopic, latest, "", 100)
	tip := s.next().latest
	for i := range 8 {
		o.account(fmt.Sprintf(`{"Name":"A%d"}`, i))
		s.collect(1) // one that is slower than five events has lost its place
	}
	f.subscribe(accountTopic, custom, tip, 100).fails(3, corrupted)
	require.Equal(t, "A3", f.subscribe(accountTopic, earliest, "", 100).collect(5)[0].value["Name"])
}
