"""One step of every conditioner as its source writes it, in dense matrices for Gaussian data.

No conditioner or solver of the package is used: the problem is given by two matrices, the denoiser
by a formula, and every inverse is computed by ``torch.linalg``. A rule maps the state, t, s and the
step's noise, in the order in which it is drawn, to the next state. The sampler is DDIM with
eta = 0.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

ETA = 0.6

Rule = Callable[["Problem", Tensor, float, float, Sequence[Tensor]], Tensor]


@dataclass(frozen=True)
class Problem:
    """A Gaussian problem, x_0 ~ N(mean, covariance), y = A x_0 + noise_std n, A = Lambda T.

    Attributes:
        alpha: scale of the data as a function of time.
        sigma: noise standard deviation as a function of time.
        mean: mean of the data, (D,).
        covariance: covariance of the data, (D, D).
        T: the transform, (D, D).
        kept: diagonal of Lambda, (D,).
        y: measurements on the full grid, (D,), zero where nothing is measured.
        noise_std: noise standard deviation of the measurements.
    """

    alpha: Callable[[float], float]
    sigma: Callable[[float], float]
    mean: Tensor
    covariance: Tensor
    T: Tensor
    kept: Tensor
    y: Tensor
    noise_std: float

    @property
    def A(self) -> Tensor:
        return self.kept[:, None] * self.T

    @property
    def eye(self) -> Tensor:
        return torch.eye(len(self.mean), dtype=self.mean.dtype)

    @property
    def norm2(self) -> float:
        return float(torch.linalg.matrix_norm(self.A, 2)) ** 2

    def jacobian(self, t: float) -> Tensor:
        """dD/dx = alpha C (alpha^2 C + sigma^2)^-1."""
        a, s = self.alpha(t), self.sigma(t)
        return a * self.covariance @ torch.linalg.inv(a**2 * self.covariance + s**2 * self.eye)

    def denoise(self, x: Tensor, t: float) -> Tensor:
        return self.mean + self.jacobian(t) @ (x - self.alpha(t) * self.mean)

    def ratio2(self, t: float) -> float:
        return (self.sigma(t) / self.alpha(t)) ** 2

    def damped(self, d: Tensor, y: Tensor, delta: float) -> Tensor:
        """argmin |y - A x|^2 + delta |x - d|^2, the limit delta -> 0 for 0."""
        if delta == 0:
            return d + torch.linalg.pinv(self.A) @ (y - self.A @ d)
        matrix = self.A.T @ self.A + delta * self.eye
        return torch.linalg.solve(matrix, self.A.T @ y + delta * d)

    def exchanged(self, x: Tensor, y: Tensor) -> Tensor:
        """T^-1 [Lambda y + (1 - Lambda) T x]."""
        return torch.linalg.solve(self.T, self.kept * y + (1 - self.kept) * (self.T @ x))


def ddim(p: Problem, d: Tensor, x: Tensor, t: float, s: float, z: Tensor) -> Tensor:
    """Eq. 12 and 16 of Song, Meng and Ermon 2021 with denoised image d."""
    b2 = p.sigma(t) ** 2 - (p.alpha(t) / p.alpha(s) * p.sigma(s)) ** 2
    v = ETA**2 * b2 * p.sigma(s) ** 2 / p.sigma(t) ** 2
    direction = (x - p.alpha(t) * d) / p.sigma(t)
    rest = math.sqrt(p.sigma(s) ** 2 - v) * direction
    return p.alpha(s) * d + rest + math.sqrt(v) * z


def guided(p: Problem, x: Tensor, t: float, guidance: Tensor) -> Tensor:
    """The denoised image of a score with added guidance."""
    return p.denoise(x, t) + p.sigma(t) ** 2 / p.alpha(t) * guidance


def proximal(lam: float) -> Rule:
    """Alg. 8.2, lines 4 and 5, then the step."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        y_t = p.alpha(t) * p.y + p.sigma(t) * p.A @ z[0]
        x = (1 - lam) * x + lam * p.exchanged(x, y_t)
        return ddim(p, p.denoise(x, t), x, t, s, z[1])

    return rule


def replacement(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
    """Alg. B.2, lines 8 and 9."""
    x = ddim(p, p.denoise(x, t), x, t, s, z[0])
    return p.exchanged(x, p.alpha(s) * p.y + p.sigma(s) * z[1])


def score_sde(weight: float) -> Rule:
    """Eq. B.36."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        y_t = p.alpha(t) * p.y + p.sigma(t) * p.A @ z[0]
        guidance = weight * p.A.T @ (y_t - p.A @ x) / (p.norm2 * p.sigma(t) ** 2)
        return ddim(p, guided(p, x, t, guidance), x, t, s, z[1])

    return rule


def jalal(gamma: float) -> Rule:
    """Eq. 4 of Jalal et al. 2021 for x / alpha: d/dx of -|y - A x / alpha|^2 / (2 variance)."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        variance = gamma**2 * p.norm2 * p.ratio2(t) + p.noise_std**2
        guidance = p.A.T @ (p.y - p.A @ x / p.alpha(t)) / (p.alpha(t) * variance)
        return ddim(p, guided(p, x, t, guidance), x, t, s, z[0])

    return rule


def jalal_normalised(weight: float) -> Rule:
    """The code of Jalal et al. 2021: the gradient has ``weight`` times the norm of the score."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        score = (p.alpha(t) * p.denoise(x, t) - x) / p.sigma(t) ** 2
        gradient = p.A.T @ (p.y - p.A @ x / p.alpha(t))
        guidance = weight * score.norm() / gradient.norm() * gradient
        return ddim(p, guided(p, x, t, guidance), x, t, s, z[0])

    return rule


def dps(zeta: float) -> Rule:
    """Alg. 1 of Chung et al. 2023a, with the gradient of |y - A D(x)|^2 written out."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        gap = p.y - p.A @ p.denoise(x, t)
        gradient = -2 * p.jacobian(t).T @ p.A.T @ gap
        step = zeta / (math.sqrt(p.norm2) * gap.norm())
        return ddim(p, p.denoise(x, t), x, t, s, z[0]) - step * gradient

    return rule


def mcg(zeta: float) -> Rule:
    """Alg. 1 of Chung et al. 2022: DPS, followed by an exchange of the measured coordinates."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        x = dps(zeta)(p, x, t, s, z[:1])
        return p.exchanged(x, p.alpha(s) * p.y + p.sigma(s) * p.A @ z[1])

    return rule


def pigdm(variance: float) -> Rule:
    """Eq. 7 of Song et al. 2023."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        r2 = p.ratio2(t) * variance / (p.ratio2(t) + variance)
        gap = p.y - p.A @ p.denoise(x, t)
        if p.noise_std == 0:
            back = torch.linalg.solve(p.T, p.kept * gap) / r2
        else:
            inverse = torch.linalg.inv(r2 * p.A @ p.A.T + p.noise_std**2 * p.eye)
            back = p.A.T @ inverse @ gap
        return ddim(p, guided(p, x, t, p.jacobian(t).T @ back), x, t, s, z[0])

    return rule


def moment_matching(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
    """The mean of x_0 given x_t and y, from the conditional distribution of the Gaussian."""
    v = p.sigma(t) ** 2 / p.alpha(t) * p.jacobian(t)
    d = p.denoise(x, t)
    gain = v @ p.A.T @ torch.linalg.pinv(p.A @ v @ p.A.T + p.noise_std**2 * torch.diag(p.kept))
    return ddim(p, d + gain @ (p.y - p.A @ d), x, t, s, z[0])


def ddnm(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
    """Eq. 17 of Wang et al. 2023."""
    d = p.denoise(x, t)
    lam = 1.0
    if p.noise_std:
        lam = min(1.0, math.sqrt(p.ratio2(t) * p.norm2) / p.noise_std)
    d = d + lam * torch.linalg.pinv(p.A) @ (p.y - p.A @ d)
    return ddim(p, d, x, t, s, z[0])


def dds(gamma: float | None) -> Rule:
    """Alg. 1 of Chung et al. 2024: D' replaces D, but the predicted noise is that of D."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        d = p.denoise(x, t)
        fitted = p.exchanged(d, p.y) if gamma is None else p.damped(d, p.y, p.norm2 / gamma)
        return ddim(p, d, x, t, s, z[0]) + p.alpha(s) * (fitted - d)

    return rule


def diffpir(zeta: float, trust: float) -> Rule:
    """Alg. 1 of Zhu et al. 2023, on top of DDIM."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        d = p.denoise(x, t)
        if p.noise_std == 0:
            d = p.exchanged(d, p.y)
        else:
            d = p.damped(d, p.y, trust * p.noise_std**2 / p.ratio2(t))
        x_s = ddim(p, d, x, t, s, z[0])
        noise = (x_s - p.alpha(s) * d) / p.sigma(s)
        mixed = math.sqrt(1 - zeta) * noise + math.sqrt(zeta) * z[1]
        return p.alpha(s) * d + p.sigma(s) * mixed

    return rule


def ddrm(eta: float, eta_b: float) -> Rule:
    """Eq. 7 and 8 of Kawar et al. 2022 for singular values 0 and 1."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        d, level, std = p.denoise(x, t), math.sqrt(p.ratio2(s)), p.noise_std
        spectrum, white = p.T @ d, p.T @ z[1]
        if level < std:
            rest = math.sqrt(1 - eta**2) * level * (p.y - spectrum) / std
            drawn = spectrum + rest + eta * level * white
        else:
            mean = (1 - eta_b) * spectrum + eta_b * p.y
            drawn = mean + math.sqrt(level**2 - (std * eta_b) ** 2) * white
        return p.exchanged(ddim(p, d, x, t, s, z[0]), p.alpha(s) * drawn)

    return rule


def daps(variance: float) -> Rule:
    """Alg. 1 of Zhang et al. 2024 without steps ahead: a draw from the Gaussian product."""

    def rule(p: Problem, x: Tensor, t: float, s: float, z: Sequence[Tensor]) -> Tensor:
        r2 = p.ratio2(t) * variance / (p.ratio2(t) + variance)
        start = p.denoise(x, t) + math.sqrt(r2) * z[0]
        if p.noise_std == 0:
            x0 = p.exchanged(start, p.y)
        else:
            y = p.kept * (p.y + p.noise_std * z[1])
            x0 = p.damped(start, y, p.noise_std**2 / r2)
        return p.alpha(s) * x0 + p.sigma(s) * z[-1]

    return rule
