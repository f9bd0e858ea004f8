package edm

import (
	"fmt"
	"strings"
)

// Metadata returns the metadata document of a service: EDMX 1.0 with the annotations of SAP.
func (s *Service) Metadata() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?>` + "\n" +
		`<edmx:Edmx Version="1.0" xmlns:edmx="http://schemas.microsoft.com/ado/2007/06/edmx" ` +
		`xmlns:m="http://schemas.microsoft.com/ado/2007/08/dataservices/metadata" xmlns:sap="http://www.sap.com/Protocols/SAPData">` +
		`<edmx:DataServices m:DataServiceVersion="2.0">` +
		fmt.Sprintf(`<Schema Namespace=%q xml:lang="en" sap:schema-version="1" xmlns="http://schemas.microsoft.com/ado/2008/09/edm">`, s.Bare()) + "\n")
	for _, set := range s.Sets {
		s.entity(&b, set)
	}
	for _, c := range s.Complex {
		fmt.Fprintf(&b, "<ComplexType Name=%q>\n", c.Name)
		for _, p := range c.Props {
			property(&b, c, p, false)
		}
		b.WriteString("</ComplexType>\n")
	}
	s.associations(&b)
	s.container(&b)
	b.WriteString("</Schema></edmx:DataServices></edmx:Edmx>\n")
	return b.String()
}

func (s *Service) entity(b *strings.Builder, set *Set) {
	fmt.Fprintf(b, "<EntityType Name=%q sap:content-version=\"1\">\n<Key>", set.TypeName())
	for _, i := range set.keys {
		fmt.Fprintf(b, "<PropertyRef Name=%q/>", set.Props[i].Name)
	}
	b.WriteString("</Key>\n")
	for i, p := range set.Props {
		property(b, set, p, set.Concurrency && i == set.ETag)
	}
	for _, n := range set.Navs {
		fmt.Fprintf(b, "<NavigationProperty Name=%q Relationship=%q FromRole=\"FromRole\" ToRole=\"ToRole\"/>\n", n.Name, s.Bare()+"."+association(set, n))
	}
	b.WriteString("</EntityType>\n")
}

func association(set *Set, n *Navigation) string { return "assoc_" + set.Name + "_" + n.Name }

func property(b *strings.Builder, set *Set, p Property, fixed bool) {
	fmt.Fprintf(b, `<Property Name=%q Type="Edm.%s"`, p.Name, p.Type)
	if p.Key {
		b.WriteString(` Nullable="false"`)
	}
	switch {
	case p.Type == Decimal:
		fmt.Fprintf(b, ` Precision="%d" Scale="%d"`, p.Length, p.Scale)
	case p.Type == String && p.Length > 0:
		fmt.Fprintf(b, ` MaxLength="%d"`, p.Length)
	case p.Type == DateTime || p.Type == DateTimeOffset || p.Type == Time:
		b.WriteString(` Precision="0"`)
	}
	if fixed {
		b.WriteString(` ConcurrencyMode="Fixed"`)
	}
	if p.Upper {
		b.WriteString(` sap:display-format="UpperCase"`)
	}
	if p.Type == DateTime {
		b.WriteString(` sap:display-format="Date"`)
	}
	fmt.Fprintf(b, ` sap:label=%q`, p.Name)
	if p.ReadOnly || set.NoCreate && set.NoUpdate {
		b.WriteString(` sap:creatable="false"`)
	}
	if p.ReadOnly || p.Fixed || p.Key || set.NoUpdate {
		b.WriteString(` sap:updatable="false"`)
	}
	b.WriteString("/>\n")
}

func (s *Service) associations(b *strings.Builder) {
	for _, set := range s.Sets {
		for _, n := range set.Navs {
			to := "0..1"
			if n.Many {
				to = "*"
			}
			fmt.Fprintf(b, `<Association Name=%q sap:content-version="1"><End Type=%q Multiplicity="1" Role="FromRole"/>`+
				`<End Type=%q Multiplicity=%q Role="ToRole"/></Association>`+"\n",
				association(set, n), s.Bare()+"."+set.TypeName(), s.Bare()+"."+n.Target.TypeName(), to)
		}
	}
}

func (s *Service) container(b *strings.Builder) {
	fmt.Fprintf(b, `<EntityContainer Name=%q m:IsDefaultEntityContainer="true" sap:supported-formats="json">`+"\n", s.Bare()+"_Entities")
	for _, set := range s.Sets {
		fmt.Fprintf(b, `<EntitySet Name=%q EntityType=%q`, set.Name, s.Bare()+"."+set.TypeName())
		for _, a := range []struct {
			name string
			no   bool
		}{{"creatable", set.NoCreate}, {"updatable", set.NoUpdate}, {"deletable", set.NoDelete}} {
			if a.no {
				fmt.Fprintf(b, ` sap:%s="false"`, a.name)
			}
		}
		b.WriteString(` sap:content-version="1"/>` + "\n")
	}
	for _, set := range s.Sets {
		for _, n := range set.Navs {
			fmt.Fprintf(b, `<AssociationSet Name=%q Association=%q sap:creatable="true" sap:content-version="1">`+
				`<End EntitySet=%q Role="FromRole"/><End EntitySet=%q Role="ToRole"/></AssociationSet>`+"\n",
				association(set, n)+"_set", s.Bare()+"."+association(set, n), set.Name, n.Target.Name)
		}
	}
	for _, f := range s.Functions {
		kind := s.Bare() + "." + f.Returns.Name
		if f.Many {
			kind = "Collection(" + kind + ")"
		}
		fmt.Fprintf(b, `<FunctionImport Name=%q ReturnType=%q m:HttpMethod="GET">`+"\n", f.Name, kind)
		for _, p := range f.Params {
			fmt.Fprintf(b, `<Parameter Name=%q Type="Edm.%s" Mode="In"/>`+"\n", p.Name, p.Type)
		}
		b.WriteString("</FunctionImport>\n")
	}
	b.WriteString("</EntityContainer>\n")
}
