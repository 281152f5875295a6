package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/term"

	"wcsgateway/cmd/internal/process"
)

var (
	errNoPassword = errors.New("the password is empty")
	errDiffer     = errors.New("the passwords differ")
)

// hashPassword prints the hash of a password for rest.users: typed twice on a terminal, else the first line
// of standard input.
func (p program) hashPassword() error {
	password, err := p.readPassword()
	if err == nil && len(password) == 0 {
		err = errNoPassword
	}
	if err != nil {
		return p.fail(err)
	}
	hash, err := bcrypt.GenerateFromPassword(password, bcrypt.DefaultCost)
	return p.print(string(hash)+"\n", err)
}

func (p program) readPassword() ([]byte, error) {
	f, ok := p.stdin.(*os.File)
	if !ok || !process.IsTerminal(f) {
		line, err := bufio.NewReader(p.stdin).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return []byte(strings.TrimRight(line, "\r\n")), err
	}
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(p.stderr, prompt)
		var err error
		typed[i], err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		if err != nil {
			return nil, err
		}
	}
	if string(typed[0]) != string(typed[1]) {
		return nil, errDiffer
	}
	return typed[0], nil
}
