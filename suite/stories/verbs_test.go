package stories

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	erpv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/erp/v1"
	idempotencyv1 "github.com/selfsame-io/selfsame/proto/gen/selfsame/idempotency/v1"
	"github.com/selfsame-io/selfsame/services/experience-mobile/conform"
	"github.com/selfsame-io/selfsame/suite/cli"
	"github.com/selfsame-io/selfsame/suite/crm"
	"github.com/selfsame-io/selfsame/suite/remote"
	"github.com/selfsame-io/selfsame/suite/seed"
)

// pairs reads name=value arguments.
func pairs(args []string) (map[string]string, error) {
	out := map[string]string{}
	for _, a := range args {
		k, v, ok := strings.Cut(a, "=")
		if !ok {
			return nil, fmt.Errorf("%q is not name=value", a)
		}
		out[k] = v
	}
	return out, nil
}

// sfVerb: sf create OBJECT Field=value…, sf update OBJECT NAME Field=value…, sf get OBJECT NAME, sf count OBJECT NAME,
// sf delete OBJECT NAME, sf undelete OBJECT ID, sf merge OBJECT NAME OTHER-NAME. NAME is an account's name or a contact's family name; create puts the id into $OBJECT.
func sfVerb(c *call, args []string) error {
	if len(args) < 2 {
		return errors.New("say what to do with which object")
	}
	what, object, rest := args[0], args[1], args[2:]
	if what == "announce" {
		return c.sfAnnounce(object, rest)
	}
	if what == "create" {
		fields, err := pairs(rest)
		if err != nil {
			return err
		}
		r := crm.Record{}
		for k, v := range fields {
			r[k] = v
		}
		id, err := c.demo.CRM.Create(c.ctx, object, r)
		c.ts.Setenv(strings.ToUpper(object), id)
		return err
	}
	if len(rest) == 0 {
		return errors.New("say which record")
	}
	if what == "undelete" {
		_, err := c.demo.JSON(c.ctx, http.MethodPost, c.demo.State.Salesforce+"/__sandbox__/undelete", map[string]any{"ids": rest}, nil)
		return err
	}
	found, err := c.sfFind(object, rest[0])
	if err != nil {
		return err
	}
	if what == "count" {
		c.printf("%d\n", len(found))
		return nil
	}
	if len(found) != 1 {
		return fmt.Errorf("salesforce has %d of %s %q, not one", len(found), object, rest[0])
	}
	id := found[0].Text("Id")
	c.ts.Setenv(strings.ToUpper(object), id)
	switch what {
	case "get":
		for _, k := range slices.Sorted(maps.Keys(found[0])) {
			c.printf("%s: %s\n", k, found[0].Text(k))
		}
		return nil
	case "delete":
		return c.demo.CRM.Delete(c.ctx, object, id)
	case "merge":
		return c.sfMerge(object, id, rest[1:])
	case "update":
		fields, err := pairs(rest[1:])
		if err != nil {
			return err
		}
		r := crm.Record{}
		for k, v := range fields {
			r[k] = v
			if v == "" {
				r[k] = nil
			}
		}
		return c.demo.CRM.Update(c.ctx, object, id, r)
	}
	return fmt.Errorf("sf cannot %s", what)
}

// sfMerge puts the named record in the place of another one.
func (c *call) sfMerge(object, id string, rest []string) error {
	if len(rest) != 1 {
		return errors.New("say which record is merged into it")
	}
	other, err := c.sfFind(object, rest[0])
	if err != nil {
		return err
	}
	if len(other) != 1 {
		return fmt.Errorf("salesforce has %d of %s %q, not one", len(other), object, rest[0])
	}
	return c.demo.CRM.Merge(c.ctx, id, other[0].Text("Id"))
}

// sfAnnounce: sf announce OBJECT GAP_OVERFLOW, or another kind of gap with the ids it names.
func (c *call) sfAnnounce(object string, rest []string) error {
	if len(rest) == 0 {
		return errors.New("say which kind of gap")
	}
	gap := map[string]any{"object": object, "change_type": rest[0], "record_ids": rest[1:]}
	_, err := c.demo.JSON(c.ctx, http.MethodPost, c.demo.State.Salesforce+"/__sandbox__/events", gap, nil)
	return err
}

func (c *call) sfFind(object, name string) ([]crm.Record, error) {
	soql := map[string]string{
		"Account": "SELECT Id, Name, Phone, Website, Email__c, VAT_Id__c, Segment__c, Selfsame_Id__c, ERP_Customer_Number__c, " +
			"BillingStreet, BillingCity, BillingPostalCode, BillingCountry FROM Account WHERE Name = ",
		"Contact": "SELECT Id, FirstName, LastName, Email, Phone, MobilePhone, Title, AccountId, Selfsame_Id__c FROM Contact WHERE LastName = ",
	}[object]
	if soql == "" {
		return nil, fmt.Errorf("sf knows Account and Contact, not %q", object)
	}
	return c.demo.CRM.Query(c.ctx, soql+crm.Quote(name))
}

// erpVerb: erp create name=… phone=…, erp update NAME field=value…, erp get NAME, erp count NAME, erp delete NAME, erp merge NAME OTHER-NAME, and the
// same with "contact" before create, get and count.
func erpVerb(c *call, args []string) error {
	if len(args) < 2 {
		return errors.New("say what to do with which customer")
	}
	switch args[0] {
	case "contact":
		return c.erpContact(args[1:])
	case "product":
		return c.erpProduct(args[1:])
	}
	what, rest := args[0], args[1:]
	if what == "create" {
		customer, _, err := erpCustomer(rest)
		if err != nil {
			return err
		}
		// Somebody at the ERP made it: it carries a reference that is not Selfsame's.
		customer.Refs = []*erpv1.Reference{{System: seed.Legacy, Type: "customer", Value: customer.GetName() + time.Now().String()}}
		res, err := c.demo.ERPCustomers.CreateCustomer(c.ctx, &erpv1.CreateCustomerRequest{Customer: customer})
		c.ts.Setenv("CUSTOMER", res.GetCustomer().GetId())
		return err
	}
	found, err := c.erpFind(rest[0])
	if err != nil {
		return err
	}
	if what == "count" {
		c.printf("%d\n", len(found))
		return nil
	}
	if len(found) != 1 {
		return fmt.Errorf("the erp has %d customers named %q, not one", len(found), rest[0])
	}
	c.ts.Setenv("CUSTOMER", found[0].GetId())
	switch what {
	case "get":
		c.printf("%s\n", protojson.MarshalOptions{Multiline: true, UseProtoNames: true}.Format(found[0]))
		return nil
	case "delete":
		_, err := c.demo.ERPCustomers.DeleteCustomer(c.ctx, &erpv1.DeleteCustomerRequest{Id: found[0].GetId()})
		return err
	case "merge":
		if len(rest) != 2 {
			return errors.New("say which customer is merged into it")
		}
		other, err := c.erpFind(rest[1])
		if err != nil {
			return err
		}
		if len(other) != 1 {
			return fmt.Errorf("the erp has %d customers named %q, not one", len(other), rest[1])
		}
		_, err = c.demo.ERPCustomers.MergeCustomers(c.ctx, &erpv1.MergeCustomersRequest{Id: other[0].GetId(), Into: found[0].GetId()})
		return err
	case "update":
		customer, mask, err := erpCustomer(rest[1:])
		if err != nil {
			return err
		}
		customer.Id = found[0].GetId()
		_, err = c.demo.ERPCustomers.UpdateCustomer(c.ctx, &erpv1.UpdateCustomerRequest{Customer: customer, UpdateMask: mask})
		return err
	}
	return fmt.Errorf("erp cannot %s", what)
}

// erpCustomer reads fields; street, city, postal_code and country are those of the default address.
func erpCustomer(args []string) (*erpv1.Customer, *fieldmaskpb.FieldMask, error) {
	fields, err := pairs(args)
	if err != nil {
		return nil, nil, err
	}
	out, mask, address := &erpv1.Customer{}, &fieldmaskpb.FieldMask{}, &erpv1.Address{Usage: erpv1.AddressUsage_ADDRESS_USAGE_DEFAULT}
	for _, k := range slices.Sorted(maps.Keys(fields)) {
		v := fields[k]
		path := k
		switch k {
		case "name":
			out.Name = v
		case "phone":
			out.Phone = v
		case "email":
			out.Email = v
		case "website":
			out.Website = v
		case "number":
			out.Number = v
		case "tax_id":
			out.TaxIds, path = []*erpv1.TaxId{{Scheme: "eu_vat", Value: v}}, "tax_ids"
		case "street":
			address.Street, path = v, "addresses"
		case "city":
			address.City, path = v, "addresses"
		case "postal_code":
			address.PostalCode, path = v, "addresses"
		case "country":
			address.Country, path = v, "addresses"
		default:
			return nil, nil, fmt.Errorf("erp customers have no %q here", k)
		}
		if path == "addresses" {
			out.Addresses = []*erpv1.Address{address}
		}
		if !slices.Contains(mask.GetPaths(), path) {
			mask.Paths = append(mask.Paths, path)
		}
	}
	return out, mask, nil
}

func (c *call) erpFind(name string) ([]*erpv1.Customer, error) {
	var out []*erpv1.Customer
	for token := ""; ; {
		res, err := c.demo.ERPCustomers.ListCustomers(c.ctx, &erpv1.ListCustomersRequest{PageSize: 1000, PageToken: token})
		if err != nil {
			return nil, err
		}
		for _, x := range res.GetCustomers() {
			if x.GetName() == name {
				out = append(out, x)
			}
		}
		if token = res.GetNextPageToken(); token == "" {
			return out, nil
		}
	}
}

func (c *call) erpContact(args []string) error {
	if len(args) != 2 {
		return errors.New("erp contact get or count, and a family name")
	}
	var found []*erpv1.Contact
	for token := ""; ; {
		res, err := c.demo.ERPContacts.ListContacts(c.ctx, &erpv1.ListContactsRequest{PageSize: 1000, PageToken: token})
		if err != nil {
			return err
		}
		for _, x := range res.GetContacts() {
			if x.GetLastName() == args[1] {
				found = append(found, x)
			}
		}
		if token = res.GetNextPageToken(); token == "" {
			break
		}
	}
	if args[0] == "count" {
		c.printf("%d\n", len(found))
		return nil
	}
	if len(found) != 1 {
		return fmt.Errorf("the erp has %d contacts named %q, not one", len(found), args[1])
	}
	c.printf("%s\n", protojson.MarshalOptions{Multiline: true, UseProtoNames: true}.Format(found[0]))
	return nil
}

// erpProduct: erp product SKU PRICE ON-HAND puts an article into the catalogue and pieces of it on the shelf.
func (c *call) erpProduct(args []string) error {
	if len(args) != 3 {
		return errors.New("say which article, its price and how many there are")
	}
	products := erpv1.NewProductServiceClient(c.demo.ERP)
	res, err := products.BatchUpsertProducts(c.ctx, &erpv1.BatchUpsertProductsRequest{Products: []*erpv1.Product{{
		Sku: args[0], Name: args[0], Unit: "C62", Price: &erpv1.Money{Amount: args[1], Currency: "EUR"}, Active: true,
	}}})
	if err != nil {
		return err
	}
	if e := res.GetResults()[0].GetError(); e != nil {
		return fmt.Errorf("the erp does not take the product: %s %s", e.GetReason(), e.GetField())
	}
	_, err = products.SetInventory(c.ctx, &erpv1.SetInventoryRequest{Inventory: &erpv1.Inventory{Sku: args[0], Site: "main", OnHand: args[2], Unit: "C62"}})
	return err
}

// mobileVerb: mobile get|post|patch PATH [Header: value]… [JSON], mobile find NAME. The answer's status, headers and body are
// printed, and put into $ID, $ORDER, $CASE, $TOKEN and $LOCATION as far as the body names them; find puts the customer's id into $ID.
func mobileVerb(c *call, args []string) error {
	if len(args) < 2 {
		return errors.New("say which method and path")
	}
	if args[0] == "find" {
		return c.mobileFind(args[1])
	}
	header := http.Header{}
	var body []byte
	for _, a := range args[2:] {
		name, value, ok := strings.Cut(a, ":")
		if ok && !strings.HasPrefix(a, "{") && !strings.HasPrefix(a, "[") {
			header.Set(name, strings.TrimSpace(value))
		} else {
			body = []byte(a)
		}
	}
	a, err := c.phone(strings.ToUpper(args[0]), args[1], header, body)
	if err != nil {
		return err
	}
	c.printf("%d %s\n", a.Status, http.StatusText(a.Status))
	for _, k := range slices.Sorted(maps.Keys(a.Header)) {
		c.printf("%s: %s\n", k, strings.Join(a.Header[k], ", "))
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, a.Body, "", "  ") == nil {
		a.Body = pretty.Bytes()
	}
	c.printf("\n%s\n", a.Body)
	if location := a.Header.Get("Location"); location != "" {
		c.ts.Setenv("LOCATION", location)
	}
	var names map[string]any
	if json.Unmarshal(a.Body, &names) == nil {
		for member, variable := range map[string]string{"customerId": "ID", "orderId": "ORDER", "caseId": "CASE", "syncToken": "TOKEN"} {
			if text, ok := names[member].(string); ok && text != "" {
				c.ts.Setenv(variable, text)
			}
		}
	}
	return nil
}

// phone sends a request as a phone does: what is not ready yet is asked again, with the same key. Every answer is as the description
// says.
func (c *call) phone(method, path string, header http.Header, body []byte) (a *remote.Answer, err error) {
	var strange error
	err = poll(c.ctx, func() (bool, error) {
		var err error
		a, err = c.demo.Mobile(c.ctx, method, path, header, body)
		if err == nil && strange == nil {
			strange = conform.Check(method, path, a.Status, a.Header, a.Body)
		}
		return err == nil && a.Status != http.StatusServiceUnavailable, err
	})
	return a, errors.Join(err, strange)
}

func (c *call) mobileFind(name string) error {
	a, err := c.phone(http.MethodGet, "/v1/customers?namePrefix="+url.QueryEscape(name), nil, nil)
	if err != nil {
		return err
	}
	var page struct {
		Customers []struct {
			ID string `json:"customerId"`
		} `json:"customers"`
	}
	if err := json.Unmarshal(a.Body, &page); err != nil {
		return fmt.Errorf("%d: %w", a.Status, err)
	}
	if len(page.Customers) != 1 {
		return fmt.Errorf("the phone finds %d customers named %q, not one", len(page.Customers), name)
	}
	c.ts.Setenv("ID", page.Customers[0].ID)
	c.printf("%s\n", page.Customers[0].ID)
	return nil
}

// faultVerb: fault erp KIND [METHOD] [times=N] [delay=MS], fault salesforce JSON, fault clear.
func faultVerb(c *call, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "clear":
		return c.demo.ClearFaults(c.ctx)
	case len(args) == 2 && args[0] == "salesforce":
		var plan map[string]any
		if err := json.Unmarshal([]byte(args[1]), &plan); err != nil {
			return err
		}
		return c.demo.SetSalesforceFaults(c.ctx, plan)
	case len(args) >= 2 && args[0] == "erp":
		f := remote.Fault{Kind: args[1]}
		for _, a := range args[2:] {
			k, v, ok := strings.Cut(a, "=")
			var err error
			switch {
			case !ok:
				f.Method = a
			case k == "times":
				_, err = fmt.Sscan(v, &f.Times)
			case k == "delay":
				_, err = fmt.Sscan(v, &f.DelayMS)
			default:
				err = fmt.Errorf("a fault has no %q", k)
			}
			if err != nil {
				return err
			}
		}
		_, err := c.demo.SetERPFault(c.ctx, f)
		return err
	}
	return errors.New("fault erp …, fault salesforce …, or fault clear")
}

// untilVerb: until PATTERN VERB… does a verb again and again until its output matches.
func untilVerb(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until PATTERN mobile|sf|erp|selfsame …")
	}
	pattern, err := regexp.Compile("(?m)" + args[0])
	ts.Check(err)
	s, ok := ts.Value(storyKey{}).(*story)
	if !ok {
		ts.Fatalf("the story was not set up")
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var out string
	err = poll(ctx, func() (bool, error) {
		var err error
		out, err = s.output(ctx, ts, args[1], args[2:])
		return pattern.MatchString(out), err
	})
	if err != nil {
		ts.Fatalf("no match for %s: %v; the last output was:\n%s", args[0], err, out)
	}
}

// output does one verb and returns what it prints.
func (s *story) output(ctx context.Context, ts *testscript.TestScript, name string, args []string) (string, error) {
	var b bytes.Buffer
	if name == "selfsame" {
		app := &cli.App{Out: &b, Err: &b, Version: "story"}
		if code := app.Main(ctx, append(slices.Clone(args), "--state", s.state)); code > 1 {
			return b.String(), fmt.Errorf("exit code %d", code)
		}
		return b.String(), nil
	}
	verbs := map[string]func(*call, []string) error{"mobile": mobileVerb, "sf": sfVerb, "erp": erpVerb}
	do := verbs[name]
	if do == nil {
		return "", fmt.Errorf("until cannot do %q", name)
	}
	err := do(&call{story: s, ts: ts, ctx: ctx, out: &b}, args)
	return b.String(), err
}

// keyVerb: key METHOD puts the digest of the newest idempotency key of a method of process-customer into $KEY.
func keyVerb(c *call, args []string) error {
	if len(args) != 1 {
		c.ts.Fatalf("usage: key METHOD")
	}
	res, err := idempotencyv1.NewKeysServiceClient(c.demo.Process).ListKeys(c.ctx, &idempotencyv1.ListKeysRequest{
		Method: "/selfsame.customer.v1.CustomerService/" + args[0],
	})
	if err != nil {
		return err
	}
	if len(res.GetKeys()) == 0 {
		return fmt.Errorf("there is no key of %s", args[0])
	}
	newest := slices.MaxFunc(res.GetKeys(), func(a, b *idempotencyv1.Key) int { return a.GetClaimTime().AsTime().Compare(b.GetClaimTime().AsTime()) })
	c.ts.Setenv("KEY", newest.GetDigest())
	return nil
}
