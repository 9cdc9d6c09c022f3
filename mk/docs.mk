# The documentation site.
.PHONY: docs

$(VENV)/.docs: $(VENV)/.run
	@echo "Installing what the documentation needs ..."
	$(PIP) -e '.[data,train,registry,pipeline,docs]'
	@$(call compile,$(VENV))
	@touch $@

# From scratch every time: Sphinx does not repeat the warnings of a page that it has cached.
docs: $(VENV)/.docs ## Build the documentation site into build/site; warnings are errors
	@rm -rf build/site
	$(RUN) python -m sphinx --builder html --fresh-env --quiet \
	  --fail-on-warning --nitpicky --doctree-dir build/doctrees docs build/site
	@echo "Open build/site/index.html."
