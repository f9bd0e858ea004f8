package sap

import (
	"bytes"
	"encoding/json"
	"errors"
)

// list is a nested collection. Deferred says that there is a link in place of it.
type list[T any] struct {
	Items    []T
	Deferred bool
}

// UnmarshalJSON reads {"results": […]}, […], {"__deferred": …} and null.
func (l *list[T]) UnmarshalJSON(b []byte) error {
	b = bytes.TrimSpace(b)
	switch {
	case len(b) == 0 || string(b) == "null":
		return nil
	case b[0] == '[':
		return json.Unmarshal(b, &l.Items)
	}
	var in struct {
		Results  []T             `json:"results"`
		Deferred json.RawMessage `json:"__deferred"`
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	l.Items, l.Deferred = in.Results, len(in.Deferred) > 0
	return nil
}

// MarshalJSON writes an array, which every release takes.
func (l list[T]) MarshalJSON() ([]byte, error) { return json.Marshal(l.Items) }

func one[T any](item T) *list[T] { return &list[T]{Items: []T{item}} }

// partner is A_BusinessPartner. What is not written has omitempty or is cleared before.
type partner struct {
	Metadata  *metadata `json:"__metadata,omitempty"`
	ID        string    `json:"BusinessPartner,omitempty"`
	Customer  string    `json:"Customer,omitempty"`
	Category  string    `json:"BusinessPartnerCategory,omitempty"`
	Grouping  string    `json:"BusinessPartnerGrouping,omitempty"`
	Name1     string    `json:"OrganizationBPName1,omitempty"`
	Name2     string    `json:"OrganizationBPName2,omitempty"`
	Name3     string    `json:"OrganizationBPName3,omitempty"`
	Name4     string    `json:"OrganizationBPName4,omitempty"`
	FirstName string    `json:"FirstName,omitempty"`
	LastName  string    `json:"LastName,omitempty"`
	Language  string    `json:"CorrespondenceLanguage,omitempty"`
	Search    string    `json:"SearchTerm1,omitempty"`
	External  string    `json:"BusinessPartnerIDByExtSystem,omitempty"`
	Blocked   bool      `json:"BusinessPartnerIsBlocked,omitempty"`
	Archived  bool      `json:"IsMarkedForArchiving,omitempty"`
	Created   *string   `json:"CreationDate,omitempty"`
	CreatedAt *string   `json:"CreationTime,omitempty"`
	Changed   *string   `json:"LastChangeDate,omitempty"`
	ChangedAt *string   `json:"LastChangeTime,omitempty"`

	Roles     *list[role]   `json:"to_BusinessPartnerRole,omitempty"`
	Addresses *list[postal] `json:"to_BusinessPartnerAddress,omitempty"`
	Taxes     *list[taxRow] `json:"to_BusinessPartnerTax,omitempty"`
	Debtor    *debtor       `json:"to_Customer,omitempty"`
	Idents    *list[ident]  `json:"to_BuPaIdentification,omitempty"`
}

type metadata struct {
	ETag string `json:"etag,omitempty"`
}

type role struct {
	Role string `json:"BusinessPartnerRole"`
}

type postal struct {
	ID         string `json:"AddressID,omitempty"`
	Street     string `json:"StreetName,omitempty"`
	House      string `json:"HouseNumber,omitempty"`
	Line2      string `json:"StreetPrefixName,omitempty"`
	Line3      string `json:"AdditionalStreetPrefixName,omitempty"`
	Line4      string `json:"StreetSuffixName,omitempty"`
	Line5      string `json:"AdditionalStreetSuffixName,omitempty"`
	City       string `json:"CityName,omitempty"`
	PostalCode string `json:"PostalCode,omitempty"`
	Region     string `json:"Region,omitempty"`
	Country    string `json:"Country,omitempty"`
	Language   string `json:"Language,omitempty"`

	Usages *list[usage]  `json:"to_AddressUsage,omitempty"`
	Emails *list[email]  `json:"to_EmailAddress,omitempty"`
	Phones *list[phone]  `json:"to_PhoneNumber,omitempty"`
	URLs   *list[webURL] `json:"to_URLAddress,omitempty"`
}

type usage struct {
	Usage string `json:"AddressUsage"`
}

type email struct {
	Person  string `json:"Person,omitempty"`
	Ordinal string `json:"OrdinalNumber,omitempty"`
	Address string `json:"EmailAddress"`
	Default bool   `json:"IsDefaultEmailAddress"`
}

type phone struct {
	Person    string `json:"Person,omitempty"`
	Ordinal   string `json:"OrdinalNumber,omitempty"`
	Number    string `json:"PhoneNumber"`
	Extension string `json:"PhoneNumberExtension,omitempty"`
	Type      string `json:"PhoneNumberType,omitempty"`
	Country   string `json:"DestinationLocationCountry,omitempty"`
	Default   bool   `json:"IsDefaultPhoneNumber"`
}

type webURL struct {
	Person  string `json:"Person,omitempty"`
	Ordinal string `json:"OrdinalNumber,omitempty"`
	URL     string `json:"WebsiteURL"`
	Default bool   `json:"IsDefaultURLAddress"`
}

type ident struct {
	Type   string `json:"BPIdentificationType"`
	Number string `json:"BPIdentificationNumber"`
}

type taxRow struct {
	Type   string `json:"BPTaxType"`
	Number string `json:"BPTaxNumber,omitempty"`
	Long   string `json:"BPTaxLongNumber,omitempty"`
}

func (t taxRow) value() string {
	if t.Long != "" {
		return t.Long
	}
	return t.Number
}

type debtor struct {
	Customer  string           `json:"Customer,omitempty"`
	Block     string           `json:"OrderIsBlockedForCustomer,omitempty"`
	Areas     *list[salesArea] `json:"to_CustomerSalesArea,omitempty"`
	Companies *list[company]   `json:"to_CustomerCompany,omitempty"`
	Deferred  json.RawMessage  `json:"__deferred,omitempty"`
}

type salesArea struct {
	Organization string `json:"SalesOrganization"`
	Channel      string `json:"DistributionChannel"`
	Division     string `json:"Division"`
	Currency     string `json:"Currency,omitempty"`
	Terms        string `json:"CustomerPaymentTerms,omitempty"`
}

type company struct {
	Code string `json:"CompanyCode"`
}

// items of a nested collection that may be absent.
func items[T any](l *list[T]) []T {
	if l == nil {
		return nil
	}
	return l.Items
}

var errNoKey = errors.New("an entity of SAP without a key")

func readPartner(entity json.RawMessage) (*partner, error) {
	p := &partner{}
	if err := json.Unmarshal(entity, p); err != nil {
		return nil, err
	}
	if p.ID == "" {
		return nil, errNoKey
	}
	return p, nil
}
