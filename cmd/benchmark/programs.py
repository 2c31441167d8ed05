"""The programs by which interpreters are compared, for every CPython from 3.9 on, of nothing but its standard library.

    programs.py                 prints their names, a line each
    programs.py NAME [tiny]     runs one, and prints how many CPU seconds it took, with its children; tiny is for tests

Each is small, does one kind of work that real programs do, and says what must come of it. A wrong result is an error: what was
measured then was something else. Results hold on every machine: integers, text, or sums of floats in a fixed order.
"""

import asyncio
import json
import pickle
import re
import resource
import string
import subprocess
import sys
import zlib


def nbody(steps):
    """Floats in attributes-free lists: the planets, in a fixed order of operations. The result is the energy."""
    days, mass = 365.24, 4 * 3.141592653589793 ** 2
    bodies = [
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, mass],
        [4.84143144246472090, -1.16032004402742839, -0.103622044471123109,
         0.00166007664274403694 * days, 0.00769901118419740425 * days, -0.0000690460016972063023 * days, 0.000954791938424326609 * mass],
        [8.34336671824457987, 4.12479856412430479, -0.403523417114321381,
         -0.00276742510726411021 * days, 0.00499852801234917238 * days, 0.0000230417297573763929 * days, 0.000285885980666130812 * mass],
        [12.8943695621391310, -15.1111514016986312, -0.223307578892655734,
         0.00296460137564761618 * days, 0.00237847173959480950 * days, -0.0000296589568540237556 * days, 0.0000436624404335156298 * mass],
        [15.3796971148509165, -25.9193146099879641, 0.179258772950371181,
         0.00268067772490389322 * days, 0.00162824170038242295 * days, -0.0000951592254519715870 * days, 0.0000515138902046611451 * mass],
    ]
    pairs = [(a, b) for i, a in enumerate(bodies) for b in bodies[i + 1:]]
    for axis in (3, 4, 5):
        momentum = 0.0
        for body in bodies:
            momentum += body[axis] * body[6]
        bodies[0][axis] = -momentum / mass
    for _ in range(steps):
        for a, b in pairs:
            dx, dy, dz = a[0] - b[0], a[1] - b[1], a[2] - b[2]
            pull = 0.01 / (dx * dx + dy * dy + dz * dz) ** 1.5
            on_a, on_b = b[6] * pull, a[6] * pull
            a[3] -= dx * on_a
            a[4] -= dy * on_a
            a[5] -= dz * on_a
            b[3] += dx * on_b
            b[4] += dy * on_b
            b[5] += dz * on_b
        for body in bodies:
            body[0] += 0.01 * body[3]
            body[1] += 0.01 * body[4]
            body[2] += 0.01 * body[5]
    energy = 0.0
    for x, y, z, vx, vy, vz, m in bodies:
        energy += m * (vx * vx + vy * vy + vz * vz) / 2
    for a, b in pairs:
        energy -= a[6] * b[6] / ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2) ** 0.5
    return round(energy, 9)


def flips(size):
    """Small integers in lists, slices: the most reversals that bring a permutation's first to its place."""
    most, checksum, sign = 0, 0, 1
    order, counts = list(range(size)), list(range(size))
    while True:
        if order[0]:
            pile, turns = order[:], 0
            while pile[0]:
                first = pile[0]
                pile[:first + 1] = pile[first::-1]
                turns += 1
            most = max(most, turns)
            checksum += sign * turns
        if sign == 1:
            order[0], order[1] = order[1], order[0]
            sign = -1
            continue
        order[1], order[2] = order[2], order[1]
        sign = 1
        for i in range(2, size):
            if counts[i]:
                counts[i] -= 1
                break
            if i == size - 1:
                return checksum, most
            counts[i] = i
            order.insert(i + 1, order.pop(0))


class Task:
    """A task of a simulated system; its subclasses differ in what they do in their turn."""

    def __init__(self, number, system):
        self.number, self.system, self.queue, self.turns = number, system, [], 0

    def take(self, packet):
        self.queue.append(packet)

    def turn(self):
        self.turns += 1
        if self.queue:
            self.handle(self.queue.pop())

    def handle(self, packet):
        raise NotImplementedError


class Relay(Task):
    def handle(self, packet):
        packet.hops += 1
        self.system.send((self.number + packet.value) % len(self.system.tasks), packet)


class Counter(Task):
    def handle(self, packet):
        packet.value = (packet.value * 7 + self.number) % 11
        packet.seen.add(self.number)
        self.system.send((self.number + 1) % len(self.system.tasks), packet)


class Packet:
    def __init__(self, value):
        self.value, self.hops, self.seen = value, 0, set()


class System:
    def __init__(self):
        self.tasks = [(Relay if number % 3 else Counter)(number, self) for number in range(12)]
        self.sent = 0

    def send(self, number, packet):
        self.sent += 1
        self.tasks[number].take(packet)


def tasks(turns):
    """Method calls and attributes: a system that schedules tasks, which send each other packets."""
    system = System()
    packets = [Packet(value) for value in range(20)]
    for i, packet in enumerate(packets):
        system.send(i % len(system.tasks), packet)
    for _ in range(turns):
        for task in system.tasks:
            task.turn()
    return system.sent, sum(p.hops for p in packets), sum(t.turns for t in system.tasks)


class Variable:
    def __init__(self, value=0):
        self.value, self.constraints = value, []


class Constraint:
    """Keeps its output what its inputs say; what must be satisfied again is found by walking from changed variables."""

    def __init__(self, output, *inputs):
        self.output, self.inputs = output, inputs
        for v in inputs:
            v.constraints.append(self)

    def satisfy(self):
        value = self.compute()
        changed = value != self.output.value
        self.output.value = value
        return changed

    def compute(self):
        return self.inputs[0].value


class Scale(Constraint):
    def compute(self):
        return super().compute() * 3 % 1009


class Sum(Constraint):
    def compute(self):
        return (self.inputs[0].value + self.inputs[1].value) % 997


def constraints(changes):
    """A class hierarchy with super(): values that follow from each other are kept right when one changes."""
    variables = [Variable() for _ in range(60)]
    for i in range(2, len(variables)):
        if i % 3 == 0:
            Sum(variables[i], variables[i - 1], variables[1])
        else:
            (Scale, Constraint)[i % 2](variables[i], variables[i - 1])
    steps = 0
    for change in range(changes):
        variables[change % 2].value = change
        pending = list(variables[change % 2].constraints)
        while pending:
            constraint = pending.pop()
            steps += 1
            if constraint.satisfy():
                pending.extend(constraint.output.constraints)
    return steps, variables[-1].value


def generators(depth):
    """Generators within generators: the leaves of a tree, in order, through yield from; and one that is sent values."""
    def tree(low, high):
        if low == high:
            return None
        middle = (low + high) // 2
        return tree(low, middle), middle, tree(middle + 1, high)

    def walk(node):
        if node is not None:
            yield from walk(node[0])
            yield node[1]
            yield from walk(node[2])

    def average():
        total = count = 0
        while True:
            value = yield (total // count if count else 0)
            total += value
            count += 1

    averages, last, total = average(), 0, 0
    next(averages)
    for value in walk(tree(0, 1 << depth)):
        last = averages.send(value)
        total += value
    return total, last


def noise(count, seed=42):
    """Integers that look random and are the same everywhere."""
    for _ in range(count):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 8


def words(count):
    """Dictionaries and strings: builds words, counts them, and joins the most frequent ones."""
    counts = {}
    for number in noise(count):
        word = string.ascii_lowercase[number % 26] + string.ascii_lowercase[number // 26 % 7] + str(number % 13)
        word = word.upper() if number % 5 == 0 else word
        counts[word] = counts.get(word, 0) + 1
    most = sorted(counts, key=lambda w: (-counts[w], w))[:50]
    return len(counts), sum(counts.values()), zlib.crc32(" ".join(most).encode())


def expressions(lines):
    """Regular expressions: finds and rewrites what is in the lines of a log."""
    log = "\n".join(
        "2026-11-%02d %02d:%02d host%d service[%d]: user=%s status=%d took %d.%03d s"
        % (n % 28 + 1, n % 24, n % 60, n % 9, n % 32768, string.ascii_lowercase[n % 26] * (n % 5 + 1), (200, 404, 500)[n % 3], n % 7, n % 1000)
        for n in noise(lines)
    )
    entry = re.compile(r"^(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d) (?P<host>\w+) (\w+)\[(\d+)\]: user=(?P<user>\S+) status=(?P<status>\d+)", re.M)
    failed = sum(len(m["user"]) for m in entry.finditer(log) if m["status"] == "500")
    hidden, users = re.subn(r"user=(\w)\w*", r"user=\1*", log)
    slow = len(re.findall(r"took (?:[5-9]|\d{2,})\.\d+ s$", log, re.M))
    return failed, users, slow, zlib.crc32(hidden.encode())


def records(count):
    """Data as programs pass it on: dictionaries, lists, text, numbers."""
    return [
        {"id": i, "name": "name %d" % n, "tags": [str(n % k) for k in (3, 5, 7)], "score": n % 1000 / 8, "flags": {"a": n % 2 == 0, "b": None}}
        for i, n in enumerate(noise(count))
    ]


def as_json(count):
    """json, both ways, with and without indentation."""
    data = records(count)
    compact, pretty = json.dumps(data, sort_keys=True), json.dumps(data, indent=2)
    return json.loads(compact) == json.loads(pretty) == data, len(compact), zlib.crc32(pretty.encode())


class Shape:
    def __init__(self, name, points):
        self.name, self.points = name, points

    def __reduce__(self):
        return Shape, (self.name, self.points)


def pickles(count):
    """pickle, both ways: data, and objects that say how; the implementation in Python as well as the one in C."""
    data = records(count)
    shapes = [Shape(r["name"], [(i, r["id"]) for i in range(5)]) for r in data]
    again, copies = pickle.loads(pickle.dumps(data, 4)), pickle.loads(pickle.dumps(shapes, 4))
    slow = pickle._loads(pickle._dumps(data[:count // 10], 4))
    return again == data, slow == data[:count // 10], [c.points for c in copies] == [s.points for s in shapes], len(copies)


def sorting(count):
    """Sorting, with key functions and without."""
    pairs = [(number % 1000, str(number)) for number in noise(count)]
    by_text = sorted(pairs, key=lambda p: p[1])
    by_both = sorted(pairs, key=lambda p: (-p[0], len(p[1]), p[1]), reverse=True)
    plain = sorted(pairs)
    right = all(a[1] <= b[1] for a, b in zip(by_text, by_text[1:])) and all(a <= b for a, b in zip(plain, plain[1:]))
    return right, by_both[0][0], by_both[-1][0]


def pi(digits):
    """Big integers: the digits of pi, one after the other."""
    found, q, r, t, k, n, l = [], 1, 0, 1, 1, 3, 3
    while len(found) < digits:
        if 4 * q + r - t < n * t:
            found.append(n)
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, l = q * k, (2 * q + r) * l, t * l, k + 1, (q * (7 * k + 2) + r * l) // (t * l), l + 2
    return sum(found), "".join(map(str, found[-10:]))


class Vector:
    __slots__ = ("x", "y", "z")

    def __init__(self, x, y, z):
        self.x, self.y, self.z = x, y, z

    def __add__(self, other):
        return Vector(self.x + other.x, self.y + other.y, self.z + other.z)

    def __sub__(self, other):
        return Vector(self.x - other.x, self.y - other.y, self.z - other.z)

    def __mul__(self, by):
        return Vector(self.x * by, self.y * by, self.z * by)

    def dot(self, other):
        return self.x * other.x + self.y * other.y + self.z * other.z

    def unit(self):
        return self * (1 / self.dot(self) ** 0.5)


def rays(size):
    """Objects with operators and slots: a picture of spheres, with shadows and mirrors, in shades from 0 to 9."""
    spheres = [(Vector(x, y, 6.0 + x), 1.0 + y / 4) for x in (-2.0, 0.0, 2.0) for y in (-1.0, 1.0)]
    light = Vector(1.0, 2.0, -1.5).unit()

    def nearest(start, way):
        best = None
        for center, radius in spheres:
            to = center - start
            along = to.dot(way)
            inside = radius * radius - to.dot(to) + along * along
            if inside > 0:
                distance = along - inside ** 0.5
                if distance > 1e-6 and (best is None or distance < best[0]):
                    best = distance, center
        return best

    def shade(start, way, depth):
        hit = nearest(start, way)
        if hit is None:
            return 0.1 + 0.2 * abs(way.y)
        point = start + way * hit[0]
        normal = (point - hit[1]).unit()
        lit = max(0.0, normal.dot(light)) if nearest(point, light) is None else 0.0
        if depth:
            lit = 0.7 * lit + 0.3 * shade(point, way - normal * (2 * way.dot(normal)), depth - 1)
        return 0.1 + 0.9 * lit

    total = 0
    for row in range(size):
        for column in range(size):
            way = Vector((column + 0.5) / size * 2 - 1, 1 - (row + 0.5) / size * 2, 1.5).unit()
            total += int(shade(Vector(0.0, 0.0, 0.0), way, 2) * 10)
    return total


def formatting(count):
    """Text from values: f-strings, format, %, Template, join."""
    page, total = string.Template("<li class=$kind>$name has $count</li>"), 0
    for number in noise(count):
        line = f"{number:>12,d}|{number / 7:10.3f}|{number % 256:#04x}|{'even' if number % 2 == 0 else 'odd':<5}"
        line += "{:^9}{!r}".format(number % 1000, "x") + "%08.2f %s" % (number / 3, number)
        total += len(line) + len(",".join([line, page.substitute(kind=number % 3, name="n%d" % (number % 17), count=number % 5)]))
    return total


def spectral(size):
    """Float arithmetic in calls and comprehensions: the spectral norm of a matrix."""
    def a(i, j):
        return 1.0 / ((i + j) * (i + j + 1) // 2 + i + 1)

    def times(v, cell):
        product = []
        for i in range(size):
            total = 0.0
            for j, x in enumerate(v):
                total += cell(i, j) * x
            product.append(total)
        return product

    def both(v):
        return times(times(v, a), lambda i, j: a(j, i))

    u = [1.0] * size
    for _ in range(4):
        v = both(u)
        u = both(v)
    over = under = 0.0
    for x, y in zip(u, v):
        over += x * y
        under += y * y
    return round((over / under) ** 0.5, 6)


def unpacking(count):
    """Tuples and lists taken apart, with stars, in loops and in calls."""
    def take(a, b, *rest, last=0, **more):
        return a + b + len(rest) + last + len(more)

    total, row = 0, (1, (2, 3), [4, 5, 6])
    for i in range(count):
        a, (b, c), [d, *e] = row
        first, *middle, end = range(i & 3, 8)
        a, b = b, a
        total += take(*e, first, *middle, last=end, key=a) + a + b + c + d
    return total


class Rejected(ValueError):
    def __init__(self, number):
        super().__init__("rejected", number)
        self.number = number


def exceptions(count):
    """Exceptions that are raised through calls, translated, caught by class, and those that are not raised."""
    def inner(number):
        if number % 7 == 0:
            raise KeyError(number)
        if number % 5 == 0:
            raise Rejected(number)
        return number

    def outer(number):
        try:
            return inner(number)
        except KeyError as e:
            raise Rejected(-number) from e

    caught = total = finished = 0
    for number in range(count):
        try:
            total += outer(number) % 3
        except (TypeError, Rejected) as e:
            caught += 1 if e.number > 0 else 2
        finally:
            finished += 1
    return caught, total, finished


def coroutines(count):
    """asyncio: tasks that hand work to each other through queues, and wait for each other."""
    async def worker(todo, done):
        while True:
            number = await todo.get()
            if number is None:
                return
            if number % 10 == 0:
                await asyncio.sleep(0)
            await done.put(number * 2)

    async def main():
        todo, done = asyncio.Queue(50), asyncio.Queue()
        workers = [asyncio.ensure_future(worker(todo, done)) for _ in range(5)]
        for number in range(count):
            await todo.put(number)
        for _ in workers:
            await todo.put(None)
        await asyncio.gather(*workers)
        total = 0
        while not done.empty():
            total += await done.get()
        return total

    return asyncio.run(main())


def start_up(times):
    """Starting the interpreter, as a script does, again and again."""
    return sum(subprocess.run([sys.executable, "-I", "-c", "pass"], check=True).returncode == 0 for _ in range(times))


# Name, function, its argument and result when it counts, and when it is tiny.
PROGRAMS = {
    "nbody": (nbody, 120000, -0.169083785, 100, -0.169050762),
    "flips": (flips, 9, (8629, 30), 5, (11, 7)),
    "tasks": (tasks, 250000, (1000068, 1000018, 3000000), 100, (468, 418, 1200)),
    "constraints": (constraints, 5000, (1569960, 173), 10, (3140, 893)),
    "generators": (generators, 18, (34359607296, 131071), 6, (2016, 31)),
    "words": (words, 900000, (364, 900000, 507444528), 1000, (304, 1000, 585691244)),
    "expressions": (expressions, 150000, (149544, 150000, 42789, 2668976575), 200, (169, 200, 60, 1329814821)),
    "json": (as_json, 45000, (True, 5107141, 380205350), 100, (True, 11091, 3766953446)),
    "pickle": (pickles, 25000, (True, True, True, 25000), 100, (True, True, True, 100)),
    "sorting": (sorting, 90000, (True, 0, 999), 500, (True, 2, 998)),
    "pi": (pi, 3300, (15143, '3786993600'), 50, (247, '1693993751')),
    "rays": (rays, 260, 148609, 8, 141),
    "formatting": (formatting, 100000, 15368726, 100, 15348),
    "spectral": (spectral, 400, 1.274224, 20, 1.27384),
    "unpacking": (unpacking, 550000, 18975000, 100, 3450),
    "exceptions": (exceptions, 900000, (411429, 617144, 900000), 100, (47, 67, 100)),
    "coroutines": (coroutines, 200000, 39999800000, 100, 9900),
    "start-up": (start_up, 20, 20, 1, 1),
}


def main(name=None, tiny=None):
    if name is None:
        print("\n".join(PROGRAMS))
        return
    function, size, want, small, want_small = PROGRAMS[name]
    if tiny:
        size, want = small, want_small

    def seconds():
        own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime

    before = seconds()
    got = function(size)
    took = seconds() - before
    if got != want:
        sys.exit("%s: the result is %r, not %r" % (name, got, want))
    print(took)


if __name__ == "__main__":
    main(*sys.argv[1:])
