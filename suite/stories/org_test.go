package stories

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/selfsame-io/selfsame/suite"
)

// orgVerb: org access JSON, org access clear, org burn CALLS, org later DURATION.
func orgVerb(c *call, args []string) error {
	if len(args) != 2 {
		return errors.New("org access, burn or later, and one argument")
	}
	control := c.demo.State.Salesforce + "/__sandbox__/"
	switch args[0] {
	case "access":
		if args[1] == "clear" {
			_, err := c.demo.JSON(c.ctx, http.MethodDelete, control+"access", nil, nil)
			return err
		}
		return setAccess(c, args[1])
	case "burn":
		var n int
		if _, err := fmt.Sscan(args[1], &n); err != nil {
			return err
		}
		for range n {
			if _, err := c.demo.CRM.Query(c.ctx, "SELECT Id FROM User LIMIT 1"); err != nil {
				return err
			}
		}
		return nil
	case "later":
		_, err := c.demo.JSON(c.ctx, http.MethodPost, control+"clock", map[string]any{"advance": args[1]}, nil)
		return err
	}
	return fmt.Errorf("org cannot %s", args[0])
}

func setAccess(c *call, text string) error {
	var plan map[string]any
	if err := json.Unmarshal([]byte(text), &plan); err != nil {
		return err
	}
	_, err := c.demo.JSON(c.ctx, http.MethodPut, c.demo.State.Salesforce+"/__sandbox__/access", plan, nil)
	return err
}

// orgOption reads what "demo start" says about Salesforce's allowance; false when it says something else.
func orgOption(o *suite.Options, arg string) (bool, error) {
	if n, ok := strings.CutPrefix(arg, "calls="); ok {
		_, err := fmt.Sscan(n, &o.SalesforceCalls)
		return true, err
	}
	if arg != "impatient" {
		return false, nil
	}
	// What waits asks again within seconds, and figures are believed as soon.
	o.Tune = func(cfg *suite.Configs) {
		cfg.SystemSalesforce.Salesforce.LimitPause = 2 * time.Second
		cfg.SystemSalesforce.Budget.Recheck, cfg.SystemSalesforce.Budget.Lag = 2*time.Second, 4*time.Second
		cfg.ProcessCustomer.Feed.RetryMax, cfg.ProcessCustomer.Deliver.RetryMax = 2*time.Second, 2*time.Second
	}
	return true, nil
}
