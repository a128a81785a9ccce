package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"github.com/sloth-runner/sloth/connection/agent/pki"
	"github.com/sloth-runner/sloth/state/disk/wholefile"
)

// maxExport bounds the file of an authority, in bytes.
const maxExport = 64 << 10

func newMasterExport(a *app) *cobra.Command {
	var dir, phraseFile string
	c := &cobra.Command{
		Use: "export FILE", Short: "Write this master's authority to a file, sealed with a passphrase", Args: cobra.ExactArgs(1),
		Long: `Write this master's authority, its certificate and its key, to a file that is sealed
with a passphrase (age). Another master takes it with sloth master import, and
is one for the same agents from then on. Remove the file when that is done.`,
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := masterDir(dir)
			if err != nil {
				return err
			}
			text, err := pki.Export(dir)
			if err != nil {
				return err
			}
			phrase, err := a.phrase(phraseFile, true)
			if err != nil {
				return err
			}
			to, err := age.NewScryptRecipient(phrase)
			if err != nil {
				return err
			}
			var sealed bytes.Buffer
			w, err := age.Encrypt(&sealed, to)
			if err == nil {
				_, err = w.Write(text)
			}
			if err == nil {
				err = w.Close()
			}
			if err != nil {
				return fmt.Errorf("seal the authority: %w", err)
			}
			if err := wholefile.Write(args[0], sealed.Bytes()); err != nil {
				return fmt.Errorf("write the authority: %w", err)
			}
			fmt.Fprintf(a.stdout, "the authority of %s is in %s: sloth master import %s\n", dir, args[0], args[0])
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the `folder` of the master")
	c.Flags().StringVar(&phraseFile, "passphrase-file", "", "read the passphrase from the first line of this `file`")
	return c
}

func newMasterImport(a *app) *cobra.Command {
	var dir, phraseFile string
	c := &cobra.Command{
		Use: "import FILE", Short: "Take the authority that another master exported", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			dir, err := masterDir(dir)
			if err != nil {
				return err
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			phrase, err := a.phrase(phraseFile, false)
			if err != nil {
				return err
			}
			id, err := age.NewScryptIdentity(phrase)
			if err != nil {
				return err
			}
			r, err := age.Decrypt(io.LimitReader(f, maxExport), id)
			var other *age.NoIdentityMatchError
			if errors.As(err, &other) {
				return fmt.Errorf("%s was sealed with another passphrase", args[0])
			}
			if err != nil {
				return fmt.Errorf("%s is no export of a master: %w", args[0], err)
			}
			text, err := io.ReadAll(io.LimitReader(r, maxExport))
			if err != nil {
				return fmt.Errorf("%s is no export of a master: %w", args[0], err)
			}
			fingerprint, err := pki.Import(dir, text)
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "the master in %s has the authority %.16s now\n", dir, fingerprint)
			return nil
		},
	}
	c.Flags().StringVar(&dir, "dir", "", "the `folder` of the master")
	c.Flags().StringVar(&phraseFile, "passphrase-file", "", "read the passphrase from the first line of this `file`")
	return c
}

// minPhrase is the fewest characters of a passphrase for an authority.
const minPhrase = 12

func (a *app) phrase(file string, fresh bool) (string, error) {
	text, err := a.joinToken(file, "Passphrase: ")
	if err != nil {
		return "", err
	}
	text = firstLine(text)
	if !fresh {
		return text, nil
	}
	if len(text) < minPhrase {
		return "", fmt.Errorf("the passphrase has %d characters: take at least %d, whoever has this file and guesses it can let anybody in", len(text), minPhrase)
	}
	if file == "" && a.canAsk() {
		again, err := a.askSecret("Passphrase again: ")
		if err != nil {
			return "", err
		}
		if again != text {
			return "", errors.New("the two passphrases differ")
		}
	}
	return text, nil
}
