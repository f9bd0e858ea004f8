package stories

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// sapVerb: sap count customer NAME, sap count order, sap deliver ORDER, sap fault EFFECT METHOD PATH [BODY], sap fired. It works in the
// S/4HANA sandbox itself, not through the ERP's contract.
func sapVerb(c *call, args []string) error {
	if c.demo.State.S4 == "" {
		return errors.New("there is no SAP behind the ERP: demo start sap")
	}
	switch what := strings.Join(args[:min(len(args), 2)], " "); {
	case what == "count customer" && len(args) == 3:
		return c.sapCount("API_BUSINESS_PARTNER/A_BusinessPartner", "OrganizationBPName1 eq '"+strings.ReplaceAll(args[2], "'", "''")+"'")
	case what == "count order" && len(args) == 2:
		return c.sapCount("API_SALES_ORDER_SRV/A_SalesOrder", "")
	case len(args) == 2 && args[0] == "deliver":
		_, err := c.demo.JSON(c.ctx, http.MethodPost, c.s4("orders/"+url.PathEscape(args[1])+"/deliver"), nil, nil)
		return err
	case (len(args) == 4 || len(args) == 5) && args[0] == "fault":
		rule := map[string]any{"effect": args[1], "method": args[2], "path": args[3], "count": 1}
		if len(args) == 5 {
			rule["body"] = args[4]
		}
		_, err := c.demo.JSON(c.ctx, http.MethodPut, c.s4("faults"), map[string]any{"rules": []any{rule}}, nil)
		return err
	case len(args) == 1 && args[0] == "fired":
		var plan struct{ Rules []struct{ Fired int } }
		_, err := c.demo.JSON(c.ctx, http.MethodGet, c.s4("faults"), nil, &plan)
		fired := 0
		for _, r := range plan.Rules {
			fired += r.Fired
		}
		c.printf("%d\n", fired)
		return err
	}
	return fmt.Errorf("sap cannot %q", args)
}

func (c *call) s4(path string) string { return c.demo.State.S4 + "/__sandbox__/" + path }

// sapCount asks a service of SAP how many records a filter chooses.
func (c *call) sapCount(set, filter string) error {
	q := url.Values{"$filter": {filter}, "$inlinecount": {"allpages"}, "$top": {"1"}, "$format": {"json"}}
	if filter == "" {
		q.Del("$filter")
	}
	var page struct {
		D struct {
			Count string `json:"__count"`
		} `json:"d"`
	}
	_, err := c.demo.JSON(c.ctx, http.MethodGet, c.demo.State.S4+"/sap/opu/odata/sap/"+set+"?"+q.Encode(), nil, &page)
	c.printf("%s\n", page.D.Count)
	return err
}
