package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/connection/agent"
	"github.com/sloth-runner/sloth/connection/agent/pki"
)

func newLogin(a *app) *cobra.Command {
	var tokenFile, name string
	c := &cobra.Command{
		Use:   "login MASTER[,MASTER]",
		Short: "Log in to a master of agents",
		Long: `Log in to a master of agents with a one-time token.

The token is asked for, or read from standard input or --token-file: a command line
is seen by everybody on this machine. An admin makes it with

  sloth agent token --user NAME --role operator

Several addresses are those of masters that share their records: whichever answers
is used.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.login(cmd.Context(), masterAddress(args[0]), name, tokenFile)
		},
	}
	c.Flags().StringVar(&name, "name", me(), "the user `name` that the token is for")
	c.Flags().StringVar(&tokenFile, "token-file", "", "read the token from this `file`")
	return c
}

func (a *app) login(ctx context.Context, address, name, tokenFile string) error {
	token, err := a.joinToken(tokenFile, "Token: ")
	if err != nil {
		return err
	}
	dir, err := loginDir(address)
	if err != nil {
		return err
	}
	k, err := agent.OpenKeep(dir)
	if err != nil {
		return err
	}
	if err := k.Enrol(ctx, address, agent.Enrolment{Kind: pki.KindUser, Name: name, Token: token, Version: version}); err != nil {
		return err
	}
	if err := setCurrent(address); err != nil {
		return err
	}
	var me agent.Me
	if err := callMaster(ctx, address, agent.MethodWhoami, &agent.Nothing{}, &me); err != nil {
		return err
	}
	hosts := me.Hosts
	if hosts == "" {
		hosts = "all agents"
	}
	if me.Allow != "" {
		hosts += ", for " + strings.ReplaceAll(me.Allow, ";", " ")
	}
	fmt.Fprintf(a.stdout, "logged in to %s as %s (%s on %s), until %s\n", address, me.Name, me.Role, hosts, me.Until.Format("2006-01-02"))
	return nil
}

// joinToken reads a token where nobody else sees it.
func (a *app) joinToken(file, prompt string) (string, error) {
	if file == "" || file == "-" {
		return a.askSecret(prompt)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	return string(text), nil
}
