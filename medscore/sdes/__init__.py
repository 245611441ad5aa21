"""Forward diffusions x_t = alpha(t) x_0 + sigma(t) z (Song 2022, chapter 7)."""
