#!/usr/bin/env python3
"""A Sarsen grid of separate processes on loopback, and the rows of docs/performance.md measured on it.

    bench_grid.py start DIR [--servers 10] [--bin target/release]    starts introducer and servers below DIR; DIR/client is a client
    bench_grid.py stop DIR
    bench_grid.py rows DIR [--bin target/release] [--mib 100,1024] [--rounds 3] [--rows put,get,dead,small,rss]

Put DIR on a tmpfs (/dev/shm/...) to measure the program rather than the disk. Every row is timed as whole commands, the program's
start included; each is printed as one JSON line with the median of the rounds. `dead` kills 7 servers, those of shares 0-2 among
them, and ends the grid's life.
"""
import argparse, json, os, shutil, signal, statistics, subprocess, sys, time

def sarsen(a, *args, **kw):
    return subprocess.run([f"{a.bin}/sarsen", *args], check=True, stdin=kw.pop("stdin", subprocess.DEVNULL), **kw)

def daemon(a, *args, log):
    # As misc/sarsen-server.service starts them: servers wait in line for the processor.
    batch = ["chrt", "-b", "0"] if shutil.which("chrt") else []
    return subprocess.Popen([*batch, f"{a.bin}/sarsen", *args], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True).pid

def start(a):
    os.makedirs(a.dir, exist_ok=True)
    log = open(f"{a.dir}/log", "a")
    if not os.path.exists(f"{a.dir}/introducer"):
        sarsen(a, "introducer", "init", f"{a.dir}/introducer", "--listen", "127.0.0.1:0", stderr=log)
    pids = {"introducer": daemon(a, "introducer", "run", f"{a.dir}/introducer", log=log)}
    url = open(f"{a.dir}/introducer/introducer.url").read().strip()
    for i in range(1, a.servers + 1):
        if not os.path.exists(f"{a.dir}/s{i}"):
            sarsen(a, "server", "init", f"{a.dir}/s{i}", "--introducer", url, "--listen", "127.0.0.1:0", "--nickname", f"s{i}", stderr=log)
        pids[f"s{i}"] = daemon(a, "server", "run", f"{a.dir}/s{i}", log=log)
    if not os.path.exists(f"{a.dir}/client"):
        sarsen(a, "--dir", f"{a.dir}/client", "init", "--introducer", url, stderr=log)
    json.dump(pids, open(f"{a.dir}/pids", "w"))
    for _ in range(100):
        out = sarsen(a, "--dir", f"{a.dir}/client", "status", "--json", stdout=subprocess.PIPE).stdout
        if sum(s["connected"] for s in json.loads(out)["servers"]) >= a.servers:
            return
        time.sleep(0.2)
    sys.exit("the servers do not come up")

def stop(a):
    for pid in json.load(open(f"{a.dir}/pids")).values():
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass

def noise(path, mib):
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(os.urandom(1 << 20))

def timed(*command, **kw):
    began = time.perf_counter()
    done = subprocess.run(command, check=True, stdin=kw.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began, done.stdout.decode().strip()

def report(row, values, unit):
    print(json.dumps({"row": row, "median": round(statistics.median(values), 2), "unit": unit, "all": [round(v, 2) for v in values]}), flush=True)

def rows(a):
    wanted = a.rows.split(",")
    work = a.work or f"{a.dir}/work"
    os.makedirs(work, exist_ok=True)
    program, home = f"{a.bin}/sarsen", ["--dir", f"{a.dir}/client", "-q"]
    caps = {}
    for mib in map(int, a.mib.split(",")):
        mb = mib * 1.048576
        path = f"{work}/{mib}m"
        puts, gets = [], []
        for _ in range(a.rounds):
            noise(path, mib)
            if "put" in wanted or "get" in wanted or "dead" in wanted:
                took, cap = timed(program, *home, "put", path)
                puts.append(mb / took)
                caps[mib] = cap
            if "get" in wanted:
                took, _ = timed(program, *home, "get", cap, f"{work}/out")
                gets.append(mb / took)
                subprocess.run(["cmp", path, f"{work}/out"], check=True)
        if "put" in wanted:
            report(f"put_{mib}MiB", puts, "MB/s")
        if "get" in wanted:
            report(f"get_{mib}MiB", gets, "MB/s")
    if "small" in wanted:
        for at_once in ("1", "16"):
            outs = [timed(f"{a.bin}/examples/small_files", f"{a.dir}/client", "200", at_once)[1].splitlines() for _ in range(a.rounds)]
            report(f"small_put_{at_once}_at_once", [float(o[0].split()[-2]) for o in outs], "files/s")
            report("small_get_1_at_once", [float(o[1].split()[-2]) for o in outs], "files/s")
    if "dead" in wanted:
        mib, cap = list(caps.items())[-1]
        out = sarsen(a, *home, "put", f"{work}/{mib}m", "--json", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
        pids = json.load(open(f"{a.dir}/pids"))
        for share in sorted(json.loads(out)["shares"], key=lambda s: s["number"])[:7]:
            os.kill(pids[share["nickname"]], signal.SIGKILL)
        gets = []
        for _ in range(a.rounds):
            took, _ = timed(program, *home, "get", cap, f"{work}/out")
            gets.append(mib * 1.048576 / took)
            subprocess.run(["cmp", f"{work}/{mib}m", f"{work}/out"], check=True)
        report(f"get_{mib}MiB_7_dead", gets, "MB/s")
    if "rss" in wanted:
        pids = json.load(open(f"{a.dir}/pids"))
        gib = a.gib
        client = subprocess.Popen(["bash", "-c", f"head -c {gib << 30} /dev/urandom | /usr/bin/env time -f %M {program} --dir {a.dir}/client -q put -"],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        cap, put_kb = (text.decode().split() for text in client.communicate())
        got = subprocess.run(["bash", "-c", f"/usr/bin/env time -f %M {program} --dir {a.dir}/client -q get {cap[0]} > /dev/null"], stderr=subprocess.PIPE)
        def peak(pid):
            try:
                return next(int(line.split()[1]) for line in open(f"/proc/{pid}/status") if line.startswith("VmHWM"))
            except (FileNotFoundError, StopIteration):
                return 0
        servers = [peak(pid) / 1024 for name, pid in pids.items() if name != "introducer"]
        report(f"client_rss_put_{gib}GiB", [int(put_kb[-1]) / 1024], "MiB")
        report(f"client_rss_get_{gib}GiB", [int(got.stderr.split()[-1]) / 1024], "MiB")
        report("server_rss_peak", [max(servers)], "MiB")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
verbs = parser.add_subparsers(required=True)
for name, do in (("start", start), ("stop", stop), ("rows", rows)):
    p = verbs.add_parser(name)
    p.add_argument("dir")
    p.add_argument("--bin", default="target/release")
    p.set_defaults(do=do)
    if do is start:
        p.add_argument("--servers", type=int, default=10)
    if do is rows:
        p.add_argument("--mib", default="100,1024")
        p.add_argument("--rounds", type=int, default=3)
        p.add_argument("--rows", default="put,get,small")
        p.add_argument("--work", help="where the input and output files are, if not below DIR")
        p.add_argument("--gib", type=int, default=4)
a = parser.parse_args()
a.do(a)
