package odata

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/selfsame-io/selfsame/pkg/fault"
)

// Metadata is what a service says about itself: releases differ in what exists and what may be written.
type Metadata struct {
	Sets      map[string]*Set
	Functions map[string]bool
}

// Set is one entity set.
type Set struct {
	Name                            string
	Creatable, Updatable, Deletable bool
	Fields                          map[string]Field
	// Links are the navigation properties.
	Links map[string]bool
}

// Field is one property.
type Field struct {
	Type string
	// MaxLength is the most characters of a text, Precision and Scale the digits of a decimal; 0 when unsaid.
	MaxLength, Precision, Scale      int
	Creatable, Updatable, Filterable bool
}

// Has tells whether a set exists and has all these fields or links.
func (m *Metadata) Has(set string, names ...string) bool {
	return len(m.Lacks(set, names...)) == 0
}

// Lacks returns which of these fields and links a set does not have; the set's own name when there is none.
func (m *Metadata) Lacks(set string, names ...string) []string {
	s := m.Sets[set]
	if s == nil {
		return []string{set}
	}
	var out []string
	for _, n := range names {
		if _, ok := s.Fields[n]; !ok && !s.Links[n] {
			out = append(out, set+"."+n)
		}
	}
	return out
}

// May tells whether entities of a set may be made; false when there is none.
func (m *Metadata) May(set string) bool { return m.Sets[set] != nil && m.Sets[set].Creatable }

// Field returns a field; its zero value when there is none.
func (m *Metadata) Field(set, name string) Field {
	if s := m.Sets[set]; s != nil {
		return s.Fields[name]
	}
	return Field{}
}

// Metadata reads the metadata document of a service.
func (c *Client) Metadata(ctx context.Context, service string) (*Metadata, error) {
	r, err := c.send(ctx, call{method: http.MethodGet, service: service, path: "$metadata", query: url.Values{}, header: map[string]string{"Accept": "application/xml"}})
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, r.refusal(false)
	}
	m, err := ParseMetadata(r.body)
	if err != nil {
		return nil, fault.Wrap(fault.Unavailable, ReasonAnswer, err, "SAP's metadata of %s cannot be read", service)
	}
	return m, nil
}

type edmx struct {
	Services []struct {
		Schemas []struct {
			Namespace string `xml:"Namespace,attr"`
			Types     []struct {
				Name  string    `xml:"Name,attr"`
				Props []xmlProp `xml:"Property"`
				Links []struct {
					Name string `xml:"Name,attr"`
				} `xml:"NavigationProperty"`
			} `xml:"EntityType"`
			Containers []struct {
				Sets []struct {
					Name  string     `xml:"Name,attr"`
					Type  string     `xml:"EntityType,attr"`
					Attrs []xml.Attr `xml:",any,attr"`
				} `xml:"EntitySet"`
				Functions []struct {
					Name string `xml:"Name,attr"`
				} `xml:"FunctionImport"`
			} `xml:"EntityContainer"`
		} `xml:"Schema"`
	} `xml:"DataServices"`
}

type xmlProp struct {
	Name      string     `xml:"Name,attr"`
	Type      string     `xml:"Type,attr"`
	MaxLength string     `xml:"MaxLength,attr"`
	Precision string     `xml:"Precision,attr"`
	Scale     string     `xml:"Scale,attr"`
	Attrs     []xml.Attr `xml:",any,attr"`
}

const sapNamespace = "http://www.sap.com/Protocols/SAPData"

// allowed tells whether an annotation of SAP is absent or true.
func allowed(attrs []xml.Attr, name string) bool {
	for _, a := range attrs {
		if a.Name.Local == name && a.Name.Space == sapNamespace {
			return a.Value != "false"
		}
	}
	return true
}

// ParseMetadata reads a metadata document. Where types of one name exist in several schemas, the schema counts too.
func ParseMetadata(text []byte) (*Metadata, error) {
	d := xml.NewDecoder(bytes.NewReader(text))
	d.Strict = true
	d.CharsetReader = func(charset string, in io.Reader) (io.Reader, error) {
		if strings.EqualFold(charset, "utf-8") {
			return in, nil
		}
		return nil, fmt.Errorf("metadata in %q", charset)
	}
	var doc edmx
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	types := map[string]*Set{}
	m := &Metadata{Sets: map[string]*Set{}, Functions: map[string]bool{}}
	for _, service := range doc.Services {
		for _, schema := range service.Schemas {
			for _, t := range schema.Types {
				s := &Set{Fields: map[string]Field{}, Links: map[string]bool{}}
				for _, p := range t.Props {
					s.Fields[p.Name] = p.field()
				}
				for _, l := range t.Links {
					s.Links[l.Name] = true
				}
				types[schema.Namespace+"."+t.Name] = s
			}
		}
	}
	for _, service := range doc.Services {
		for _, schema := range service.Schemas {
			for _, c := range schema.Containers {
				for _, f := range c.Functions {
					m.Functions[f.Name] = true
				}
				for _, set := range c.Sets {
					t := types[set.Type]
					if t == nil {
						return nil, fmt.Errorf("entity set %s is of an unknown type", set.Name)
					}
					m.Sets[set.Name] = &Set{
						Name: set.Name, Creatable: allowed(set.Attrs, "creatable"), Updatable: allowed(set.Attrs, "updatable"),
						Deletable: allowed(set.Attrs, "deletable"), Fields: t.Fields, Links: t.Links,
					}
				}
			}
		}
	}
	if len(m.Sets)+len(m.Functions) == 0 {
		return nil, errors.New("read metadata: it names nothing")
	}
	return m, nil
}

func (p xmlProp) field() Field {
	number := func(s string) int {
		n, err := strconv.Atoi(s)
		if err != nil || n < 0 {
			return 0
		}
		return n
	}
	return Field{
		Type: strings.TrimPrefix(p.Type, "Edm."), MaxLength: number(p.MaxLength), Precision: number(p.Precision), Scale: number(p.Scale),
		Creatable: allowed(p.Attrs, "creatable"), Updatable: allowed(p.Attrs, "updatable"), Filterable: allowed(p.Attrs, "filterable"),
	}
}
