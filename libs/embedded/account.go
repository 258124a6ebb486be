package embedded

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
)

// account is the user that the server runs as. PostgreSQL refuses to run as root.
type account struct {
	uid, gid int
	name     string
	// change says that it is another user than this process's.
	change bool
}

// serverAccount is this process's own user, or an unprivileged one when that is root.
func serverAccount() (account, error) {
	if os.Geteuid() != 0 {
		return account{uid: os.Geteuid(), gid: os.Getegid(), name: "uid " + strconv.Itoa(os.Geteuid())}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return account{uid: uid, gid: gid, name: name, change: true}, nil
		}
	}
	return account{}, fmt.Errorf("start PostgreSQL as root: it refuses to, and there is no user postgres or nobody to run it as")
}

// mkdir makes a directory, private to the account.
func (a account) mkdir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return a.own(dir)
}

func (a account) own(path string) error {
	if !a.change {
		return nil
	}
	return os.Lchown(path, a.uid, a.gid)
}
