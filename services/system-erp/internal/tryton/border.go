package tryton

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/selfsame-io/selfsame/pkg/fault"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/backend"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/erp"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/remote"
	"github.com/selfsame-io/selfsame/services/system-erp/internal/store"
)

var _ remote.Rounder = (*System)(nil)

// limited are the texts that an administrator, or a module, may have given a longest length, by our path.
func limited() map[string]map[string][]string {
	return map[string]map[string][]string{
		"party.party":             {"name": {"customer.name"}, "code": {"customer.number"}},
		"party.address":           {"street": {"customer.addresses.street"}, "city": {"customer.addresses.city"}, "postal_code": {"customer.addresses.postal_code"}},
		"party.contact_mechanism": {"value": {"customer.email", "customer.phone", "customer.website"}},
		"party.identifier":        {"code": {"customer.tax_ids.value", "customer.refs.value"}},
		"sale.sale":               {"reference": {"order.client_ref"}, "description": {"order.customer_po"}, "comment": {"order.note"}},
		"sale.line":               {"description": {"order.items.name"}},
	}
}

// loadSizes asks for the longest lengths. Tryton 6.0 itself has none of these: what is not told has no limit.
func (s *System) loadSizes(ctx context.Context, m *master) error {
	m.sizes = make(map[string]int)
	for model, fields := range limited() {
		names := make([]string, 0, len(fields))
		for f := range fields {
			names = append(names, f)
		}
		var told map[string]map[string]any
		if err := s.client.call(ctx, false, &told, "model."+model+".fields_get", names, 0, s.context(ctx, nil)); err != nil {
			return err
		}
		for f, paths := range fields {
			n, ok := told[f]["size"].(json.Number)
			if !ok {
				continue
			}
			size, err := strconv.Atoi(n.String())
			for _, path := range paths {
				if err == nil && size > 0 {
					m.sizes[path] = size
				}
			}
		}
	}
	return nil
}

// sized refuses a text that is longer than its field: cutting it would be found out by nobody.
func (m *master) sized(limit, path, text string) error {
	if n := m.sizes[limit]; n > 0 && utf8.RuneCountInString(text) > n {
		return fault.InvalidField(path, backend.ReasonTooLong, "at most %d characters in the ERP", n)
	}
	return nil
}

// lengths refuses what is too long of a customer.
func (m *master) lengths(c erp.Customer) error {
	type text struct{ limit, path, value string }
	list := []text{
		{"customer.name", "customer.name", c.Name},
		{"customer.number", "customer.number", c.Number},
		{"customer.email", "customer.email", c.Email},
		{"customer.phone", "customer.phone", c.Phone},
		{"customer.website", "customer.website", c.Website},
	}
	for i, a := range c.Addresses {
		path := fmt.Sprintf("customer.addresses[%d].", i)
		list = append(list, text{"customer.addresses.street", path + "street", a.Street}, text{"customer.addresses.city", path + "city", a.City},
			text{"customer.addresses.postal_code", path + "postal_code", a.PostalCode})
	}
	for i, t := range c.TaxIDs {
		list = append(list, text{"customer.tax_ids.value", fmt.Sprintf("customer.tax_ids[%d].value", i), t.Value})
	}
	for i, r := range c.Refs {
		list = append(list, text{"customer.refs.value", fmt.Sprintf("customer.refs[%d].value", i), refCode(r)})
	}
	for _, t := range list {
		if err := m.sized(t.limit, t.path, t.value); err != nil {
			return err
		}
	}
	return nil
}

// orderLengths refuses what is too long of an order.
func (m *master) orderLengths(o erp.Order) error {
	for _, t := range [][2]string{{"order.client_ref", o.ClientRef}, {"order.customer_po", o.CustomerPO}, {"order.note", o.Note}} {
		if err := m.sized(t[0], t[0], t[1]); err != nil {
			return err
		}
	}
	for i, it := range o.Items {
		if err := m.sized("order.items.name", fmt.Sprintf("order.items[%d].name", i), it.Name); err != nil {
			return err
		}
	}
	return nil
}

// exact tells whether a quantity survives being kept as a float, as Tryton keeps them.
func exact(d erp.Decimal) bool {
	f, err := strconv.ParseFloat(d.String(), 64)
	return err == nil && strconv.FormatFloat(f, 'f', -1, 64) == d.String()
}

// Amount implements remote.Rounder: Tryton rounds halves to the even neighbour, to the smallest amount of the currency.
func (s *System) Amount(ctx context.Context, quantity, price erp.Decimal, currency string) (erp.Decimal, error) {
	m, err := s.data(ctx)
	if err != nil {
		return erp.Decimal{}, err
	}
	return halfEven(quantity, price, m.rounding[currency]), nil
}

// halfEven is a × b in whole units, halves to the even one. A unit of zero means as exact as a decimal can be.
func halfEven(a, b, unit erp.Decimal) erp.Decimal {
	million := big.NewInt(1_000_000)
	size := unit.Micro()
	if size.Sign() <= 0 {
		size = big.NewInt(1)
	}
	product := new(big.Int).Mul(a.Micro(), b.Micro()) // in millionths of millionths
	quo, rem := new(big.Int).QuoRem(product, new(big.Int).Mul(size, million), new(big.Int))
	twice := rem.Abs(rem).Lsh(rem, 1)
	if c := twice.Cmp(new(big.Int).Mul(size, million)); c > 0 || c == 0 && quo.Bit(0) == 1 {
		quo.Add(quo, big.NewInt(int64(product.Sign())))
	}
	return erp.Micro(quo.Mul(quo, size))
}

// taxTypes are the identifiers Tryton 6.0 checks with python-stdnum.
const taxTypes = " ad_nrt al_nipt ar_cuit be_vat bg_vat by_unp ch_vat cl_rut cn_uscc co_rut cr_cpj cz_dic de_vat dk_cvr do_rnc ec_ruc " +
	"ee_kmkr es_nif eu_vat fi_alv fr_tva gb_vat gr_vat gt_nit hu_anum id_npwp ie_vat il_hp is_vsk it_iva jp_cn kr_brn lt_pvm lu_tva " +
	"lv_pvn mc_tva md_idno mt_vat mx_rfc nl_btw no_mva nz_ird pe_ruc pl_nip pt_nif py_ruc ro_cf rs_pib ru_inn se_vat si_ddv sk_dph " +
	"sm_coe us_atin us_ein us_itin us_ptin us_ssn us_tin uy_ruc ve_rif za_tin "

// Check implements remote.Source.
func (p parties) Check(ctx context.Context, c erp.Customer) error {
	m, err := p.data(ctx)
	if err != nil {
		return err
	}
	if err := m.lengths(c); err != nil {
		return err
	}
	for i, a := range c.Addresses {
		path := fmt.Sprintf("customer.addresses[%d]", i)
		if a.Country != "" && m.countries[a.Country] == 0 {
			return fault.InvalidField(path+".country", backend.ReasonCountry, "the ERP does not know this country")
		}
		if a.Region != "" && m.subdivisions[a.Country+"-"+a.Region] == 0 {
			return fault.InvalidField(path+".region", backend.ReasonRegion, "the ERP does not know this subdivision of the country")
		}
	}
	for i, t := range c.TaxIDs {
		if !strings.Contains(taxTypes, " "+t.Scheme+" ") {
			return fault.InvalidField(fmt.Sprintf("customer.tax_ids[%d].scheme", i), backend.ReasonTaxID, "the ERP does not know this kind of number")
		}
	}
	return nil
}

// translate tells a refusal of a write of a party.
func (p parties) translate(err error, c erp.Customer) error {
	f, ok := fault.As(err)
	if !ok || f.Cause == nil || f.Reason != backend.ReasonRejected {
		return err
	}
	message := strings.ToLower(f.Cause.Error())
	switch {
	case strings.Contains(message, "code on party must be unique") || strings.Contains(message, "party_party_code_uniq") ||
		strings.Contains(message, "code") && strings.Contains(message, "unique"):
		e := backend.Native(fault.Wrap(fault.AlreadyExists, store.ReasonNumberTaken, f.Cause, "another party of the ERP has this code"), Kind, "UserError", "", "")
		e.Fields = []fault.Field{{Path: "customer.number", Reason: store.ReasonNumberTaken, Description: "another party of the ERP has this code"}}
		return e
	case len(c.TaxIDs) > 0 && strings.Contains(message, "is not valid"):
		path := "customer.tax_ids"
		for i, t := range c.TaxIDs {
			// The message quotes the number that is to blame.
			if strings.Contains(message, `"`+strings.ToLower(t.Value)+`"`) {
				path = fmt.Sprintf("customer.tax_ids[%d].value", i)
				break
			}
		}
		e := fault.InvalidField(path, backend.ReasonTaxID, "the ERP does not accept this number")
		e.Cause = f.Cause
		return backend.Native(e, Kind, "InvalidIdentifierCode", "", "")
	}
	return err
}
