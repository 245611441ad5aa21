"""One step of every sampler as its source writes it, in plain numbers for one-dimensional data.

Nothing of the package is used: schedules, score and denoiser of N(M, C) data are written again from
the text (Song 2022, B.5.3), and inverse schedules are computed by root finding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy.integrate import quad
from scipy.optimize import brentq

M, C = 0.4, 0.3
"""Mean and variance of the data."""


@dataclass(frozen=True)
class Schedule:
    """alpha and sigma of Eq. B.18 as functions of time, f and g of the SDE."""

    alpha: Callable[[float], float]
    sigma: Callable[[float], float]
    f: Callable[[float], float]
    g: Callable[[float], float]

    def score(self, x: float, t: float) -> float:
        a, s = self.alpha(t), self.sigma(t)
        return -(x - a * M) / (a**2 * C + s**2)

    def denoise(self, x: float, t: float) -> float:
        a, s = self.alpha(t), self.sigma(t)
        return M + a * C / (a**2 * C + s**2) * (x - a * M)

    def noise(self, x: float, t: float) -> float:
        """epsilon(x, t), what a noise-predicting network gives."""
        return (x - self.alpha(t) * self.denoise(x, t)) / self.sigma(t)

    def lam(self, t: float) -> float:
        return math.log(self.alpha(t) / self.sigma(t))

    def time(self, lam: float) -> float:
        return float(brentq(lambda t: self.lam(t) - lam, 1e-6, 1.5, xtol=1e-15))

    def beta(self, s: float, t: float) -> float:
        """1 - alpha_t^2 / alpha_s^2: DDPM's beta of the step."""
        return 1 - (self.alpha(t) / self.alpha(s)) ** 2


def ve(low: float, high: float) -> Schedule:
    def sigma(t: float) -> float:
        return low * (high / low) ** t

    def g(t: float) -> float:
        return sigma(t) * math.sqrt(2 * math.log(high / low))

    return Schedule(lambda t: 1.0, sigma, lambda t: 0.0, g)


def _rate(t: float) -> float:
    return 0.1 + t * (20 - 0.1)


def _integral(t: float) -> float:
    return 0.1 * t + (20 - 0.1) * t**2 / 2


def vp() -> Schedule:
    return Schedule(
        lambda t: math.exp(-_integral(t) / 2),
        lambda t: math.sqrt(1 - math.exp(-_integral(t))),
        lambda t: -_rate(t) / 2,
        lambda t: math.sqrt(_rate(t)),
    )


def subvp() -> Schedule:
    return Schedule(
        lambda t: math.exp(-_integral(t) / 2),
        lambda t: 1 - math.exp(-_integral(t)),
        lambda t: -_rate(t) / 2,
        lambda t: math.sqrt(_rate(t) * (1 - math.exp(-2 * _integral(t)))),
    )


Step = Callable[[Schedule, float, float, float, float], float]
"""x_s from (schedule, x_t, t, s, z)."""


def forward_noise(k: Schedule, t: float, s: float) -> float:
    """Variance of x_t given x_s."""
    return k.sigma(t) ** 2 - (k.alpha(t) / k.alpha(s) * k.sigma(s)) ** 2


def euler_maruyama(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Alg. 8.1, lines 4 to 7."""
    dt = t - s
    x1 = x - k.f(t) * x * dt
    x1 = x1 + k.g(t) ** 2 * k.score(x, t) * dt
    return x1 + k.g(t) * math.sqrt(dt) * z


def reverse_diffusion(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Alg. B.4 and B.5, lines 3 to 5, with the forward step's own coefficients."""
    a, variance = k.alpha(t) / k.alpha(s), forward_noise(k, t, s)
    return (2 - a) * x + variance * k.score(x, t) + math.sqrt(variance) * z


def probability_flow(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Eq. B.29 and B.30."""
    a, variance = k.alpha(t) / k.alpha(s), forward_noise(k, t, s)
    return (2 - a) * x + 0.5 * variance * k.score(x, t)


def ancestral_vp(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Eq. 7.4 with sqrt(1 - beta) = alpha_t / alpha_s, for VP beta is the forward variance."""
    variance = forward_noise(k, t, s)
    a = math.sqrt(1 - k.beta(s, t))
    return (x + variance * k.score(x, t)) / a + math.sqrt(variance) * z


def ancestral_ve(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Eq. B.33; its mean on other SDEs is that of q(x_s | x_t, x_0) at x_0 = D."""
    variance, a = forward_noise(k, t, s), k.alpha(t) / k.alpha(s)
    precision = a**2 / variance + 1 / k.sigma(s) ** 2
    centre = a * x / variance + k.alpha(s) * k.denoise(x, t) / k.sigma(s) ** 2
    return centre / precision + z / math.sqrt(precision)


def exponential_integrator(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """The linear SDE with a constant score, solved by quadrature."""

    def kernel(u: float) -> float:
        return math.exp(quad(k.f, u, s, epsabs=1e-13)[0])

    gain = quad(lambda u: k.g(u) ** 2 * kernel(u), s, t, epsabs=1e-13)[0]
    variance = quad(lambda u: (k.g(u) * kernel(u)) ** 2, s, t, epsabs=1e-13)[0]
    return kernel(t) * x + gain * k.score(x, t) + math.sqrt(variance) * z


def ddim(eta: float) -> Step:
    """Song, Meng and Ermon 2021, Eq. 12 with the sigma of Eq. 16."""

    def step(k: Schedule, x: float, t: float, s: float, z: float) -> float:
        posterior = forward_noise(k, t, s) * k.sigma(s) ** 2 / k.sigma(t) ** 2
        std = eta * math.sqrt(posterior)
        ahead = math.sqrt(k.sigma(s) ** 2 - std**2) * k.noise(x, t)
        return k.alpha(s) * k.denoise(x, t) + ahead + std * z

    return step


def analytic_dpm(eta: float) -> Step:
    """Bao et al. 2022, Thm. 1, with the exact variance of the data given x_t."""

    def step(k: Schedule, x: float, t: float, s: float, z: float) -> float:
        a, b = k.alpha(t), k.sigma(t)
        v = eta**2 * forward_noise(k, t, s) * k.sigma(s) ** 2 / b**2
        unknown = C * b**2 / (a**2 * C + b**2)  # Var[x_0 | x_t]
        slope = k.alpha(s) - math.sqrt(k.sigma(s) ** 2 - v) * a / b
        mean = k.alpha(s) * k.denoise(x, t) + math.sqrt(k.sigma(s) ** 2 - v) * k.noise(x, t)
        return mean + math.sqrt(v + slope**2 * unknown) * z

    return step


def analytic_dpm_own(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """The same variance with eta = 1 and the sample's own squared score in place of its mean."""
    a, b, score = k.alpha(t), k.sigma(t), k.score(x, t)
    v = forward_noise(k, t, s) * k.sigma(s) ** 2 / b**2
    rest = math.sqrt(k.sigma(s) ** 2 - v)
    bound = (k.alpha(s) / a * b - rest) ** 2
    variance = v + bound * min(1.0, max(0.0, 1 - b**2 * score**2))
    return k.alpha(s) * k.denoise(x, t) + rest * k.noise(x, t) + math.sqrt(variance) * z


def dpm_solver_1(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Lu et al. 2022, Eq. 3.7."""
    h = k.lam(s) - k.lam(t)
    return k.alpha(s) / k.alpha(t) * x - k.sigma(s) * (math.exp(h) - 1) * k.noise(x, t)


def dpm_solver_2(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Lu et al. 2022, Alg. 1."""
    h = k.lam(s) - k.lam(t)
    m = k.time((k.lam(t) + k.lam(s)) / 2)
    u = k.alpha(m) / k.alpha(t) * x - k.sigma(m) * (math.exp(h / 2) - 1) * k.noise(x, t)
    return k.alpha(s) / k.alpha(t) * x - k.sigma(s) * (math.exp(h) - 1) * k.noise(u, m)


def dpm_solver_3(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Lu et al. 2022, Alg. 2."""
    h, r1, r2 = k.lam(s) - k.lam(t), 1 / 3, 2 / 3
    s1, s2 = k.time(k.lam(t) + r1 * h), k.time(k.lam(t) + r2 * h)
    e = k.noise(x, t)
    u1 = k.alpha(s1) / k.alpha(t) * x - k.sigma(s1) * (math.exp(r1 * h) - 1) * e
    d1 = k.noise(u1, s1) - e
    u2 = k.alpha(s2) / k.alpha(t) * x - k.sigma(s2) * (math.exp(r2 * h) - 1) * e
    u2 -= k.sigma(s2) * r2 / r1 * ((math.exp(r2 * h) - 1) / (r2 * h) - 1) * d1
    d2 = k.noise(u2, s2) - e
    end = k.alpha(s) / k.alpha(t) * x - k.sigma(s) * (math.exp(h) - 1) * e
    return end - k.sigma(s) / r2 * ((math.exp(h) - 1) / h - 1) * d2


def dpm_solver_pp_2m(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Lu et al. 2022b, Alg. 2: the second step, from t, after a first step from halfway to 1.

    The first step starts where the second starts at x.
    """
    t0 = (1 + t) / 2
    h0, h = k.lam(t) - k.lam(t0), k.lam(s) - k.lam(t)

    def first(x0: float) -> float:
        kept = k.sigma(t) / k.sigma(t0) * x0
        return kept - k.alpha(t) * (math.exp(-h0) - 1) * k.denoise(x0, t0)

    x0 = float(brentq(lambda v: first(v) - x, -1e4, 1e4, xtol=1e-14))
    r = h0 / h
    d = (1 + 1 / (2 * r)) * k.denoise(x, t) - 1 / (2 * r) * k.denoise(x0, t0)
    return k.sigma(s) / k.sigma(t) * x - k.alpha(s) * (math.exp(-h) - 1) * d


def heun(k: Schedule, x: float, t: float, s: float, z: float) -> float:
    """Karras et al. 2022, Alg. 1 with s(t) = 1 and sigma(t) = t, in u = x / alpha."""
    v, w, u = k.sigma(t) / k.alpha(t), k.sigma(s) / k.alpha(s), x / k.alpha(t)
    d = (u - k.denoise(x, t)) / v
    guess = u + (w - v) * d
    d2 = (guess - k.denoise(k.alpha(s) * guess, s)) / w
    return k.alpha(s) * (u + (w - v) * (d / 2 + d2 / 2))


def edm_stochastic(gamma: float, inflate: float) -> Step:
    """Karras et al. 2022, Alg. 2, lines 4 to 11, in u = x / alpha."""

    def step(k: Schedule, x: float, t: float, s: float, z: float) -> float:
        v = k.sigma(t) / k.alpha(t)
        raised = v + gamma * v
        u = x / k.alpha(t) + math.sqrt(raised**2 - v**2) * inflate * z
        above = k.time(-math.log(raised))
        return heun(k, k.alpha(above) * u, above, s, 0.0)

    return step


def langevin(epsilon: Callable[[Schedule, float, float], float]) -> Step:
    """Eq. 7.2 at time s, with the step size of (schedule, s, score)."""

    def step(k: Schedule, x: float, t: float, s: float, z: float) -> float:
        e = epsilon(k, s, k.score(x, s))
        return x + e * k.score(x, s) + math.sqrt(2 * e) * z

    return step


def ozaki(epsilon: Callable[[Schedule, float], float]) -> Step:
    """Eq. 4.20 at time s with the epsilon of Eq. 6.1, and with s_2 = -1 / (alpha^2 C + sigma^2)."""

    def step(k: Schedule, x: float, t: float, s: float, z: float) -> float:
        e, s2 = epsilon(k, s), -1 / (k.alpha(s) ** 2 * C + k.sigma(s) ** 2)
        m = (math.exp(e * s2) - 1) / s2
        return x + m * k.score(x, s) + math.sqrt((math.exp(2 * e * s2) - 1) / s2) * z

    return step
