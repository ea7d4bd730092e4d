"""The loop that only this project has: the corpus trains its judges, and they judge the corpus."""
