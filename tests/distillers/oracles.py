"""The losses once more, from their formulas, on lists and with loops over single numbers; nothing of torch."""

import math


def numbers(nested) -> list[float]:
    """All numbers of a nested list, row by row."""
    return [x for part in nested for x in numbers(part)] if isinstance(nested, list) else [nested]


def mean(values) -> float:
    values = list(values)
    return math.fsum(values) / len(values)


def dot(one, other) -> float:
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def length(vector) -> float:
    return math.sqrt(dot(vector, vector))


def scaled(vector, to: float) -> list[float]:
    return [x / to if to else 0.0 for x in vector]


def mean_squared_difference(one, other) -> float:
    return mean((a - b) ** 2 for a, b in zip(numbers(one), numbers(other), strict=True))


def pooled(rows: list[list[float]], size: int) -> list[list[float]]:
    """Average-pool a square map to size x size; windows from floor(i h / s) to ceil((i + 1) h / s)."""
    h = len(rows)
    spans = [range(i * h // size, -(-(i + 1) * h // size)) for i in range(size)]
    return [[mean(rows[y][x] for y in ys for x in xs) for xs in spans] for ys in spans]


def at_common_size(student, teacher):
    """Maps [B][C][H][W] with the larger pooled to the smaller."""
    size = min(len(student[0][0]), len(teacher[0][0]))
    return ([[pooled(rows, size) for rows in sample] for sample in side] for side in (student, teacher))


fitnet = mean_squared_difference


def attention(sample) -> list[float]:
    size = len(sample[0])
    squares = [mean(c[y][x] ** 2 for c in sample) for y in range(size) for x in range(size)]
    return scaled(squares, length(squares))


def at(student, teacher) -> float:
    student, teacher = at_common_size(student, teacher)
    return mean_squared_difference([attention(s) for s in student], [attention(t) for t in teacher])


def similarities(samples) -> list[list[float]]:
    flat = [numbers(sample) for sample in samples]
    products = [[dot(a, b) for b in flat] for a in flat]
    return [scaled(row, length(row)) for row in products]


def sp(student, teacher) -> float:
    s, t = numbers(similarities(student)), numbers(similarities(teacher))
    return math.fsum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(student) ** 2


def relu(vector) -> list[float]:
    return [max(x, 0.0) for x in vector]


def times(matrix, vector) -> list[float]:
    return [dot(row, vector) for row in matrix]


def vid_mean(sample, first, second, third):
    """Three 1x1 convolutions of a map [C][H][W], pixel by pixel, with weights as matrices."""
    size = len(sample[0])
    out = [[[0.0] * size for _ in range(size)] for _ in third]
    for y in range(size):
        for x in range(size):
            pixel = relu(times(second, relu(times(first, [c[y][x] for c in sample]))))
            for channel, value in enumerate(times(third, pixel)):
                out[channel][y][x] = value
    return out


def vid(predicted, teacher, variance) -> float:
    terms = []
    for m, f in zip(predicted, teacher, strict=True):
        for channel, v in enumerate(variance):
            pairs = zip(numbers(m[channel]), numbers(f[channel]), strict=True)
            terms += [0.5 * ((a - b) ** 2 / v + math.log(v)) for a, b in pairs]
    return mean(terms)


def smooth_l1(one, other) -> float:
    gaps = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return mean(0.5 * gap**2 if gap < 1 else gap - 0.5 for gap in gaps)


def distances(rows) -> list[float]:
    """Of all pairs, over their mean without the diagonal."""
    count = len(rows)
    gaps = [[math.dist(a, b) for b in rows] for a in rows]
    scale = mean(gaps[i][j] for i in range(count) for j in range(count) if i != j)
    return [gap / scale for row in gaps for gap in row]


def cosines(rows) -> list[float]:
    """Of the angles at i between j and k, for all triples."""
    values = []
    for i in rows:
        to = [[a - b for a, b in zip(j, i, strict=True)] for j in rows]
        to = [scaled(vector, length(vector)) for vector in to]
        values += [dot(j, k) for j in to for k in to]
    return values


def rkd(student, teacher, distance_weight=25.0, angle_weight=50.0) -> float:
    distance = smooth_l1(distances(student), distances(teacher))
    return distance_weight * distance + angle_weight * smooth_l1(cosines(student), cosines(teacher))


def neighbours(rows) -> list[list[float]]:
    unit = [scaled(row, length(row) + 1e-7) for row in rows]
    alike = [[(dot(a, b) + 1) / 2 for b in unit] for a in unit]
    return [scaled(row, math.fsum(row)) for row in alike]


def pkt(student, teacher) -> float:
    pairs = zip(numbers(neighbours(student)), numbers(neighbours(teacher)), strict=True)
    return mean(t * math.log((t + 1e-7) / (s + 1e-7)) for s, t in pairs)


def exponentials(anchors, bank, contrasts, temperature) -> list[list[float]]:
    return [
        [math.exp(dot(bank[k], anchor) / temperature) for k in row]
        for anchor, row in zip(anchors, contrasts, strict=True)
    ]


def normaliser(values, num_samples: int) -> float:
    return num_samples * mean(numbers(values))


def crd_side(anchors, bank, contrasts, z=None, temperature=0.07) -> float:
    values = exponentials(anchors, bank, contrasts, temperature)
    z = normaliser(values, len(bank)) if z is None else z
    q, total = (len(contrasts[0]) - 1) / len(bank), 0.0
    for own, *others in values:
        total += math.log(own / z / (own / z + q + 1e-7))
        total += math.fsum(math.log(q / (other / z + q + 1e-7)) for other in others)
    return -total / len(anchors)


def refreshed(row, new, momentum=0.5) -> list[float]:
    mixed = [momentum * a + (1 - momentum) * b for a, b in zip(row, new, strict=True)]
    return scaled(mixed, length(mixed))


def dual_side(anchors, bank, contrasts) -> float:
    own, others = [], []
    for anchor, row in zip(anchors, contrasts, strict=True):
        critic = [dot(anchor, bank[k]) / math.sqrt(2) for k in row]
        own.append(critic[0])
        others += critic[1:]
    return -(mean(own) - mean(others))


def transport(student, teacher, regularisation=0.1, iterations=50) -> float:
    """Sinkhorn's iteration as first written down, on the kernel itself and not in logarithms."""
    cost = [[1 - dot(t, s) / length(t) / length(s) for s in student] for t in teacher]
    kernel = [[math.exp(-c / regularisation) for c in row] for row in cost]
    n, m = len(teacher), len(student)
    right = [1.0] * m
    for _ in range(iterations):
        left = [1 / n / dot(kernel[i], right) for i in range(n)]
        right = [1 / m / math.fsum(left[i] * kernel[i][j] for i in range(n)) for j in range(m)]
    return math.fsum(left[i] * kernel[i][j] * right[j] * cost[i][j] for i in range(n) for j in range(m))


def hierarchical(student, teacher) -> float:
    """HCL of one level, maps [B][C][h][h]."""
    height = len(student[0][0])
    total, weights, weight = mean_squared_difference(student, teacher), 1.0, 1.0
    for size in (4, 2, 1):
        if size < height:
            weight /= 2
            weights += weight
            small = [[[pooled(rows, size) for rows in sample] for sample in side] for side in (student, teacher)]
            total += weight * mean_squared_difference(*small)
    return total / weights


def log_softmax(row, temperature=1.0) -> list[float]:
    top = max(row) / temperature
    total = top + math.log(math.fsum(math.exp(z / temperature - top) for z in row))
    return [z / temperature - total for z in row]


def divergence(student, teacher, temperature) -> float:
    """T^2 times the mean over the rows of KL(teacher || student)."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        log_q, log_p = log_softmax(s, temperature), log_softmax(t, temperature)
        total += math.fsum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))
    return temperature**2 * total / len(student)


def cross_entropy(logits, labels) -> float:
    return mean(-log_softmax(row)[label] for row, label in zip(logits, labels, strict=True))


def view_similarity(projections) -> list[list[float]]:
    """Cosines of rotated views, 1 2 3 5 6 7 .., with unrotated ones, 0 4 .."""
    unit = [scaled(row, length(row)) for row in projections]
    return [[dot(row, unit[j]) for j in range(0, len(unit), 4)] for i, row in enumerate(unit) if i % 4]


def levels(answers, truth) -> list[int]:
    return [sum(x > row[true] for x in row) for row, true in zip(answers, truth, strict=True)]


def kept(ranks, ratio) -> list[int]:
    """Positions of all zeros and of the floor(ratio w) lowest of the w others."""
    wrong = sorted((rank, position) for position, rank in enumerate(ranks) if rank)
    right = [position for position, rank in enumerate(ranks) if rank == 0]
    return sorted(right + [position for _, position in wrong[: int(len(wrong) * ratio)]])


def selected_divergence(student, teacher, truth, ratio, temperature) -> float:
    rows = kept(levels(teacher, truth), ratio)
    if not rows:
        return 0.0
    return divergence([student[i] for i in rows], [teacher[i] for i in rows], temperature)


def sskd_transformed(student, teacher, labels, temperature=4.0, ratio=1.0) -> float:
    rotated = [i for i in range(len(student)) if i % 4]
    truth = [labels[i // 4] for i in rotated]
    return selected_divergence([student[i] for i in rotated], [teacher[i] for i in rotated], truth, ratio, temperature)


def sskd_similarity(student, teacher, ratio=0.75) -> float:
    truth = [i // 3 for i in range(len(student) // 4 * 3)]
    return selected_divergence(view_similarity(student), view_similarity(teacher), truth, ratio, 0.5)


def sskd_head(projections) -> float:
    answers = view_similarity(projections)
    return cross_entropy(answers, [i // 3 for i in range(len(answers))])
